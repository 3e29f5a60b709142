"""Chainer's configuration, read fast: a value that a thread has set is its own."""

import threading

import pytest

from utils.stack import chainer


def in_a_thread(read):
    found = []
    thread = threading.Thread(target=lambda: found.append(read()))
    thread.start()
    thread.join()
    return found[0]


def test_a_setting_is_the_threads_own_until_its_context_ends(monkeypatch):
    def read():
        return chainer.config.lazy_grad_sum

    assert not read()
    with chainer.using_config("lazy_grad_sum", True):
        assert read() and not in_a_thread(read)
        with chainer.using_config("lazy_grad_sum", False):
            assert not read()
        assert read()
    assert not read()
    monkeypatch.setattr(chainer.global_config, "lazy_grad_sum", True)
    assert read() and in_a_thread(read)


def test_a_setting_of_ones_own_can_be_made_and_unknown_ones_are_told():
    with chainer.using_config("of_my_own", 3):
        assert chainer.config.of_my_own == 3
    assert not hasattr(chainer.config, "of_my_own")
    with pytest.raises(AttributeError, match="of_my_own"):
        chainer.config.of_my_own  # noqa: B018


def test_known_settings_are_found_at_once():
    known = {name for name in vars(chainer.global_config) if not name.startswith("_")}
    assert {"train", "enable_backprop", "debug"} <= known
    assert all(isinstance(getattr(type(chainer.config), name), property) for name in known)
