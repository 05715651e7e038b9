"""The command line in a script: JSON to read, exit codes to branch on."""

import json
import subprocess
import sys

from local import naq


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one `naq` command; in a shell script this is just `naq …`."""
    return subprocess.run([sys.executable, "-m", "naq_cli", *words], capture_output=True, text=True, check=False)


def main() -> None:
    """Enqueue, look, wait, and tell ends apart."""
    with naq():
        print("root:", run("enqueue", "math:sqrt", "2", "--wait").stdout.strip())

        failed = run("enqueue", "math:sqrt", "-q", "--wait", "--", "-1")
        print(f"exit code {failed.returncode}: {failed.stderr.strip().partition(' failed ')[2].partition(' See')[0]}")

        jobs = json.loads(run("job", "list", "--json").stdout)["jobs"]
        print("jobs:", [(job["function"], job["state"]) for job in jobs])

        later = run("enqueue", "math:sqrt", "3", "--in", "1h", "-q").stdout.strip()
        waited = run("job", "wait", later, "--timeout", "100ms")
        print("not ended in time: exit code", waited.returncode)
        print("cancelled:", run("job", "cancel", later, "-q").returncode == 0)
        print("not there: exit code", run("job", "show", "nothing").returncode)


if __name__ == "__main__":
    main()
