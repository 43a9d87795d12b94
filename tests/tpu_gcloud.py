"""A stand-in for gcloud: records its arguments, answers as recorded, plays the workers.

The folder $CLOUD says how: `states` how the TPU is, a line for each time it is asked (the last one
stays): state of the queued resource, state of the nodes; `errors` which recorded error a verb ends
with, a line for each call: verb, name or -; `deaf` leaves out the last worker. `workers/*` are the
home directories of the workers. It imports little: a test starts it twenty times.
"""

import contextlib
import json
import os
import re
import signal
import sys

CLOUD, RECORDED = os.environ["CLOUD"], os.environ["RECORDED"]
HOMES = sorted(entry.path for entry in os.scandir(f"{CLOUD}/workers"))


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def main(arguments):
    number = len(os.listdir(f"{CLOUD}/calls"))
    write(f"{CLOUD}/calls/{number}", "".join(f"{word}\0" for word in arguments))
    thing, verb = arguments[2:4]
    flags = dict(word.split("=", 1) for word in arguments if re.match("--[a-z-]+=", word))
    name = take_error(verb)
    if name == "deaf":
        HOMES.pop()
    elif name:
        sys.stderr.write(read(f"{RECORDED}/{name}.txt"))
        return 255 if name == "ssh" else 1
    if verb == "list":
        return show(thing, flags)
    if verb == "ssh":
        return ssh(flags)
    if verb == "scp":
        return shell('for home; do cp "$BUNDLE" "$home/bakein.bundle"; done', BUNDLE=arguments[-6])
    if verb == "delete":  # a VM that is created anew knows nothing
        power_off()
        return shell('rm -r "$@" && mkdir "$@"')
    return 0


def take_error(verb):
    """The error of this call; - and nothing stand for none."""
    path = f"{CLOUD}/errors"
    lines = read(path).splitlines() if os.path.exists(path) else []
    for index, line in enumerate(lines):
        if line.split()[0] == verb:
            write(path, "".join(f"{other}\n" for other in lines[:index] + lines[index + 1 :]))
            return line.split()[1].strip("-")
    return ""


def show(thing, flags):
    """What is there, filtered and projected like gcloud does it."""
    states = read(f"{CLOUD}/states").splitlines()
    key, pattern = flags["--filter"].split(" ~ ")
    if key == "name":  # that is the first look; the nodes of a queued resource are the second
        write(f"{CLOUD}/now", states[0])
        write(f"{CLOUD}/states", "\n".join(states[1:] or states))
    queue, nodes = read(f"{CLOUD}/now").split()
    if {queue, nodes} & {"SUSPENDED", "PREEMPTED", "TERMINATED"}:
        power_off()
    if thing == "queued-resources":
        items = [recorded("queued_resource", state={"state": queue})] if queue != "-" else []
    else:
        items = [recorded("node", state=state) for state in nodes.split(",") if state != "-"]
        workers = len(HOMES) // max(len(items), 1)
        items = [item | {"networkEndpoints": item["networkEndpoints"] * workers} for item in items]
    columns = re.fullmatch(r"value\((.*)\)", flags["--format"])[1].split(",")
    for item in items:
        if re.search(pattern, item[key]):
            print("\t".join(str(column(item, path)) for path in columns))
    return 0


def recorded(name, **changed):
    return json.loads(read(f"{RECORDED}/{name}.json")) | changed


def column(item, path):
    for part in path.split("."):
        if part == "basename()":
            item = item.rpartition("/")[2]
        elif part == "len()":
            item = len(item)
        else:
            item = item[part]
    return item


def power_off():
    """Ends what runs on the workers, without a word."""
    for home in HOMES:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.killpg(int(read(f"{home}/bakein.pid")), signal.SIGKILL)


def ssh(flags):
    """Runs the command on the workers; the status is that of the first that failed."""
    worker = flags["--worker"]
    print(f"SSH: Attempting to connect to worker {worker}...", file=sys.stderr)
    statuses = [
        shell(f"cd {home!r} && {flags['--command']}", HOME=home, PATH=f"{CLOUD}/machine:")
        for home in (HOMES if worker == "all" else [HOMES[int(worker)]])
    ]
    return next((status for status in statuses if status), 0)


def shell(command, PATH="", **env):
    env = os.environ | env | {"PATH": PATH + os.environ["PATH"]}
    words = ["bash", "-c", command, "bash", *HOMES]
    return os.waitstatus_to_exitcode(os.waitpid(os.posix_spawnp("bash", words, env), 0)[1])


sys.exit(main(sys.argv[1:]))
