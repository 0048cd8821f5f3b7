"""Processes that begin with what trainings and searches need loaded, in a moment in place of seconds."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext


def warm_processes() -> ForkServerContext:
    """Give the context of such processes, whose targets are functions of modules.

    They are forks of a process that has run nothing, and are to be killed as any other.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hpacml.training.train", "hpacml.searching.nested", "pytest"])
    return context
