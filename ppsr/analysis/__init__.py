"""Looking inside networks: LAM, channel saliency, deep degradation representation, feature maps."""
