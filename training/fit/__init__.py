"""The networks and how they are fitted and released; reads labels only through training.data."""
