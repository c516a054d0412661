"""From any format to any other: modules, SavedModels and Keras models, through what publishes and what converts."""
