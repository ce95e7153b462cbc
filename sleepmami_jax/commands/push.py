"""Puts a model on the Hugging Face hub, in the form for PyTorch, from which `sleepmami` loads it too.

sleepmami push demo/model owner/name
sleepmami push twin owner/name --private

`sleepmami score night.edf --model owner/name` then scores with it, on any machine.

Needs `pip install sleepmami[hub,torch]`, and a token (`hf auth login`, or HF_TOKEN). A repository is public, unless it
is made --private.
"""

from argparse import ArgumentParser, Namespace


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model folder, `bundled`, or a folder of `sleepmami export --to torch`")
    add("name", metavar="owner/name", help="the repository; it is made if there is none")
    add("--private", action="store_true", help="seen by its owner alone, if it is made now")


def run(args: Namespace) -> int:
    from sleepmami_jax.hub import push

    commit = push(args.model, args.name, private=args.private)
    print(f"on the hub: {args.name}@{commit}")
    return 0
