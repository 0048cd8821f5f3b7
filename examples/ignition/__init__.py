"""An ignition front in hydrogen and air, whose chemistry is Cantera's or a network's, cell by cell; see README.md."""
