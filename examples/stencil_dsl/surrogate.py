"""All that the compiler does for surrogates: a step is a region, whose maps follow from what it reads and writes."""

from hpacml import ir


def region(build, program, values, new, params, reach, active, infer):
    """The region of a step. If it is active, it collects into `<name>.h5`, or infers by `<name>.pt2`."""
    interior = [slice(r, build.size(new[0], d, "NM"[d]) - r) for d, r in enumerate(reach)]
    features = [offset for _, offset in program.accesses] + [(0, 0)] * len(params)
    sources = [ir.target(values[field])[*interior] for field, _ in program.accesses]
    results = [ir.target(array)[*interior] for array in new]
    inputs = [build.map_to(features, *sources, *params)]
    outputs = [build.map_from([(0, 0)] * len(new), *results)]
    clauses = {"condition": infer, "if_condition": active, "inputs": inputs, "outputs": outputs}
    files = {"model": f"{program.name}.pt2", "database": f"{program.name}.h5"}
    return build.ml_region("predicated", program.name, **clauses, **files)
