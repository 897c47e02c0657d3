"""Making a study: which features and controls, and what annotators will see of them."""
