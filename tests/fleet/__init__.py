"""Tests of fleet/: the collector, its tables and the dashboards."""
