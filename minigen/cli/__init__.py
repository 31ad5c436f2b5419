"""The command line: `minigen VERB`."""
