"""Reads of Chainer's configuration, of which a function node takes five or more."""


def install(chainer):
    """Let `chainer.config` have a property for each setting: Chainer's own way, by an attribute
    that is missing at first, takes three times as long."""
    kind = type(chainer.config)
    for name in vars(type(chainer.global_config)):
        if not name.startswith("__") and name != "show":
            setattr(kind, name, setting(name))


def setting(name):
    """A property: the value that this thread has set, else that of all threads."""

    def get(config):
        own = config._local.__dict__
        return own[name] if name in own else getattr(config._global, name)

    return property(get)
