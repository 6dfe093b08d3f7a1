"""Commands and questions by HTTP and MQTT; holds no rule of a sample and no statistics."""
