"""What no ready-made tool checks: that the metrics and settings named here exist in the source, that each alarm is
explained, and that what the chart renders is what Kubernetes takes."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import helm_python
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/voxmill"
KUBERNETES = ["1.30", "1.37"]
KEDA = "keda.sh/v1alpha1"
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}
# Seconds that a process takes to leave after the grace of its jobs.
LEAVING = 45
# What a process takes besides its children.
RESERVE = 512 << 20
# Settings in the shapes that values files have, and what the program is to read.
VALUES = {"quota_bytes": 107374182400, "call_price_per_minute": 0.25, "retention_days": 90, "role_rate_limits": {"admin": 1000},
          "cors_origins": ["https://a.example", "https://b.example"]}
SETTINGS = {"VOXMILL_QUOTA_BYTES": "107374182400", "VOXMILL_CALL_PRICE_PER_MINUTE": "0.25", "VOXMILL_RETENTION_DAYS": "90",
            "VOXMILL_ROLE_RATE_LIMITS": "admin=1000", "VOXMILL_CORS_ORIGINS": "https://a.example,https://b.example"}
API_SECRETS = {"VOXMILL_TOKEN_SECRET", "VOXMILL_URL_SECRET", "VOXMILL_SMTP_URL", "VOXMILL_INTERNAL_KEY", "VOXMILL_LIVEKIT_API_SECRET"}


def main():
    if sys.argv[1:] == ["queries"]:
        return print(dashboard_as_rules())
    problems = [*metrics(), *settings(), *alarms(), *compose(), *chart()]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print("good")


def compose():
    part = yaml.safe_load((ROOT / "compose.yaml").read_text())["x-voxmill"]
    grace, until_killed = part["environment"]["VOXMILL_GRACE_SECONDS"], int(part["stop_grace_period"].removesuffix("s"))
    if until_killed < grace + LEAVING:
        yield f"compose.yaml: killed after {until_killed} s, with {grace} s of grace for jobs"


def dashboard_as_rules():
    """The queries of the dashboard, in the form in which promtool reads queries."""
    rules = [
        {"record": f"panel{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(dashboard_queries())
    ]
    return yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})


def dashboard_queries():
    board = json.loads((DEPLOY / "grafana/voxmill.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


def alert_rules():
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metrics():
    queries = dashboard_queries() + [rule["expr"] for rule in alert_rules()]
    named = {name for query in queries for name in re.findall(r"voxmill_\w+", query)}
    known = set(re.findall(r"\bvoxmill_\w+", source("api", "worker", "storage", "cli")))
    for name in sorted(named):
        if name not in known and name.removesuffix("_bucket") not in known:
            yield f"no such metric in the source: {name}"


def settings():
    config = (ROOT / "cli/src/config.rs").read_text()
    keys = set(re.findall(r"^    pub (\w+):", config, re.M))
    texts = [path.read_text() for path in [ROOT / "compose.yaml", DEPLOY / "Dockerfile", *CHART.rglob("*.yaml")]]
    for name in sorted(set(re.findall(r"VOXMILL_([A-Z0-9_]+)", "\n".join(texts)))):
        if name.lower() not in keys and name.lower().removesuffix("_file") not in keys:
            yield f"no such setting in cli/src/config.rs: VOXMILL_{name}"


def alarms():
    explained = (ROOT / "docs/operations.md").read_text()
    for rule in alert_rules():
        if rule["alert"] not in explained:
            yield f"docs/operations.md does not explain {rule['alert']}"


def chart():
    for finding in helm_python.lint(str(CHART))["messages"]:
        if finding["severity"] >= 2:
            yield f"helm lint: {finding['error']}"
    for number, values in enumerate(variants()):
        with helm_python.Chart.load(str(CHART)) as loaded:
            files = loaded.render(values, name="mill", namespace="voices")
        texts = [text for path, text in files.items() if path.endswith(".yaml")]
        documents = [document for text in texts for document in yaml.safe_load_all(text) if document]
        yield from (f"variant {number}: {problem}" for problem in documents_problems(documents, values))
    with helm_python.Chart.load(str(CHART)) as loaded:
        try:
            loaded.render({"settings": {"smtp_url": "smtp://user:secret@mail.example"}}, name="mill", namespace="voices")
            yield "a secret among the settings is rendered in clear"
        except Exception as refusal:
            if "smtp_url is a secret" not in str(refusal):
                yield f"a secret among the settings: {refusal}"


def variants():
    """Each switch off and on, with a pool on graphics cards beside the default ones."""
    pools = yaml.safe_load((CHART / "values.yaml").read_text())["workers"]
    card = {"name": "card", "image": {"repository": "voxmill", "tag": "cuda"}, "queues": ["transcribe"], "min": 0, "max": 4,
            "slots": {"transcribe": 2}, "device": "cuda:0", "dataSize": "10Gi", "nodeSelector": {"gpu": "yes"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}], "resources": {"limits": {"nvidia.com/gpu": 1}}}
    switches = ["ingress", "networkPolicy", "keda"]
    for chosen in itertools.product([False, True], repeat=len(switches)):
        values = {name: {"enabled": enabled} for name, enabled in zip(switches, chosen)}
        values["ingress"]["host"] = "voxmill.example"
        values |= {"workers": [*pools, card], "models": {"claim": "models" if chosen[0] else ""}}
        values["api"] = {"autoscaling": {"enabled": chosen[1]}}
        values["settings"] = VALUES
        values["networkPolicy"]["apiNamespaces"] = ["ingress"] if chosen[2] else []
        yield values


def keda_problems(documents):
    """By the schemas of KEDA 2.10, which come as code."""
    if not documents:
        return []
    run = ["node", ROOT / "deploy/check/keda.mjs"]
    return subprocess.run(run, input=json.dumps(documents), text=True, check=True, stdout=subprocess.PIPE).stdout.splitlines()


def documents_problems(documents, values):
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    if len(set(names)) != len(names):
        yield f"two of one name: {names}"
    own = [document for document in documents if document["apiVersion"] != KEDA]
    yield from keda_problems([document for document in documents if document["apiVersion"] == KEDA])
    for document, version in itertools.product(own, KUBERNETES):
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{document['kind']} {document['metadata']['name']}, Kubernetes {version}: {error.message}"
    scaled = {document["spec"]["scaleTargetRef"]["name"] for document in documents if document["kind"] == "ScaledObject"}
    for document in documents:
        if document["kind"] != "Deployment":
            continue
        name, spec = document["metadata"]["name"], document["spec"]
        if spec["selector"]["matchLabels"].items() - spec["template"]["metadata"]["labels"].items():
            yield f"{name} does not select its own pods"
        volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
        if ("models" in volumes) == name.endswith("-api"):
            yield f"{name}: the models are the workers' and nobody else's"
        if name in scaled and "replicas" in spec:
            yield f"{name} has replicas of its own, over which it and KEDA would quarrel"
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        environment = {entry["name"]: entry.get("value") for entry in container["env"]}
        if len(environment) != len(container["env"]):
            yield f"{name} is told a variable twice"
        for key, text in SETTINGS.items():
            if environment.get(key) != text:
                yield f"{name} reads {key}={environment.get(key)}, not {text}"
        secret = {entry["name"] for entry in container["env"] if "valueFrom" in entry}
        is_api = container["args"][0] == "api"
        if secret & API_SECRETS != (API_SECRETS if is_api else set()):
            yield f"{name} has these of the Secret: {secret}"
        if pod["terminationGracePeriodSeconds"] < int(environment["VOXMILL_GRACE_SECONDS"]) + LEAVING:
            yield f"{name} is killed while it drains"
        if is_api and "preStop" not in container.get("lifecycle", {}):
            yield f"{name} refuses what is still sent to it"
        limit = container["resources"]["limits"].get("memory")
        needed = children(container["args"]) * float(environment.get("VOXMILL_MEDIA_MEMORY_BYTES", 4 << 30)) + RESERVE
        if limit and int(limit[:-2]) * UNITS[limit[-2:]] < needed:
            yield f"{name} has {limit}, and its children may take it to {needed:.0f} bytes"
    if values["keda"]["enabled"] and not scaled:
        yield "keda.enabled scales nothing"


def children(arguments):
    """How many media children a process has at once."""
    if arguments[0] == "api":
        return int(re.search(r"MOST_CHILDREN: usize = (\d+)", source("cli"))[1])
    told = dict(zip(arguments[1::2], arguments[2::2]))
    slots = dict(item.split("=") for item in told.get("--slots", "").split(",") if item)
    return sum(int(slots.get(queue, 1)) for queue in told["--queues"].split(",") if queue != "deliver-webhook")


def source(*crates):
    return "\n".join(path.read_text() for crate in crates for path in sorted((ROOT / crate / "src").rglob("*.rs")))


if __name__ == "__main__":
    main()
