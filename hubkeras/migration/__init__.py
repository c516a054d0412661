"""Code that uses tensorflow_hub, rewritten for hubkeras and Keras 3 where that is safe."""
