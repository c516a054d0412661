"""Fine-tunes a SavedModel with tensorflow_hub and Keras 2; prints losses and outputs. Run in a process of its own."""

import json
import sys

import numpy as np
import tensorflow_hub
import tf_keras

x = np.array(json.loads(sys.argv[2]), np.float32)
layer = tensorflow_hub.KerasLayer(sys.argv[1], trainable=True)
model = tf_keras.Sequential([layer])
model.compile(tf_keras.optimizers.SGD(0.1), "mse")
losses = model.fit(x, np.ones([4, 3]), epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
outputs = model.predict(x, verbose=0).tolist()
sys.stdout.write(json.dumps({"losses": losses, "outputs": outputs, "trained": len(layer.trainable_weights)}))
