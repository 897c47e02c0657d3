"""All input from people, the query strings of GET requests too."""
