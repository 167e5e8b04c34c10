"""The telephone bench on the command line: simulated phones that a person uses."""
