"""What training minimises: one module per objective, from batch and predictions to named terms."""
