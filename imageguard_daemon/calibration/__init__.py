"""CALIBRATE: thresholds from scores of images whose worth is known. Pure: measuring is the business of others."""
