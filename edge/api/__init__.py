"""Commands and questions from outside, by HTTP and MQTT; holds no rule of a sample and no statistics."""
