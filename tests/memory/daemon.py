"""``python -m tests.memory.daemon run ...``: upnp-gw that reports its memory."""

if __name__ == "__main__":
    from tests.memory import inside

    inside.install()

    from upnp_gw.cli import main

    main()
