"""How well speakers were separated: measures, bounds, and the report; without TensorFlow."""
