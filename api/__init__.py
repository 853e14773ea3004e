"""The REST server: reads the published results, lands events, asks for runs. Computes nothing."""
