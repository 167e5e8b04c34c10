"""A team in another namespace that has sessions as Nexus operations, with none of the service's code."""
