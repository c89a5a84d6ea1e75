"""etcd, API server, controller manager and scheduler, as processes of the node."""

from __future__ import annotations

from pathlib import Path

from tunegate_local import binaries, certificates, files, processes, settings, sign_in, users
from tunegate_local.certificates import Pair
from tunegate_local.command import succeeds

READY_SECONDS = 90.0
AUDIT_LOG = settings.LOGS / "audit.log"
AUDIT_POLICY = settings.STATE / "audit-policy.yaml"
AUDIT_LOG_MEGABYTES = 100
AUDIT_LOG_FILES = 5


def start() -> None:
    _start_etcd()
    _start_api_server()
    _start_controller_manager()
    _start_scheduler()


def _client(name: str, common_name: str, *organizations: str) -> Path:
    path = settings.PKI / f"{name}.kubeconfig"
    return users.ensure_kubeconfig(path, name, common_name, organizations)


def _etcd_pair() -> Pair:
    return certificates.ensure_leaf("etcd", "etcd", (), (f"IP:{settings.LOOPBACK}", "DNS:localhost"))


def _start_etcd() -> None:
    pair = _etcd_pair()
    authority = certificates.authority().certificate
    client = f"https://{settings.LOOPBACK}:{settings.ETCD_PORT}"
    peer = f"https://{settings.LOOPBACK}:{settings.ETCD_PEER_PORT}"
    processes.ensure(
        "etcd",
        [
            binaries.component("etcd"),
            f"--name={settings.NODE}",
            f"--data-dir={settings.STATE / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={settings.NODE}={peer}",
            f"--cert-file={pair.certificate}",
            f"--key-file={pair.key}",
            f"--trusted-ca-file={authority}",
            "--client-cert-auth",
            f"--peer-cert-file={pair.certificate}",
            f"--peer-key-file={pair.key}",
            f"--peer-trusted-ca-file={authority}",
            "--peer-client-cert-auth",
            "--log-level=warn",
            # A demo's and a test's cluster: what a power cut may take is not worth a disk flush per write.
            "--unsafe-no-fsync",
        ],
        urgent=True,
    )


def _start_api_server() -> None:
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", settings.NODE]
    names.append(f"kubernetes.default.svc.{settings.CLUSTER_DOMAIN}")
    addresses = [settings.GATEWAY, settings.API_SERVICE, settings.LOOPBACK]
    answers_to = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
    serving = certificates.ensure_leaf("kube-apiserver", "kube-apiserver", (), answers_to)
    to_kubelet = certificates.ensure_leaf("kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",))
    to_etcd = certificates.ensure_leaf("etcd-client", "kube-apiserver")
    to_extensions = certificates.ensure_leaf("front-proxy", "front-proxy-client")
    authority = certificates.authority().certificate
    files.keep(AUDIT_POLICY, (settings.REPOSITORY / "examples/audit-policy.yaml").read_text())
    processes.ensure(
        "kube-apiserver",
        [
            binaries.component("kube-apiserver"),
            f"--bind-address={settings.GATEWAY}",
            f"--advertise-address={settings.GATEWAY}",
            f"--secure-port={settings.API_PORT}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority}",
            f"--etcd-servers=https://{settings.LOOPBACK}:{settings.ETCD_PORT}",
            f"--etcd-cafile={authority}",
            f"--etcd-certfile={to_etcd.certificate}",
            f"--etcd-keyfile={to_etcd.key}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--authentication-config={sign_in.ensure_configuration()}",
            "--anonymous-auth=false",
            "--allow-privileged=true",
            "--profiling=false",
            f"--service-cluster-ip-range={settings.SERVICE_CIDR}",
            f"--service-account-issuer=https://kubernetes.default.svc.{settings.CLUSTER_DOMAIN}",
            f"--service-account-key-file={certificates.service_account_key()}",
            f"--service-account-signing-key-file={certificates.service_account_key()}",
            f"--kubelet-certificate-authority={authority}",
            f"--kubelet-client-certificate={to_kubelet.certificate}",
            f"--kubelet-client-key={to_kubelet.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--proxy-client-cert-file={to_extensions.certificate}",
            f"--proxy-client-key-file={to_extensions.key}",
            f"--requestheader-client-ca-file={authority}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--audit-policy-file={AUDIT_POLICY}",
            f"--audit-log-path={AUDIT_LOG}",
            f"--audit-log-maxsize={AUDIT_LOG_MEGABYTES}",
            f"--audit-log-maxbackup={AUDIT_LOG_FILES}",
        ],
        urgent=True,
    )
    processes.wait_ready("kube-apiserver", lambda: succeeds(kubectl("get", "--raw", "/readyz")), READY_SECONDS)


def kubectl(*words: str) -> list[str]:
    """kubectl as the cluster's administrator."""
    return [str(binaries.kubectl()), f"--kubeconfig={settings.ADMIN_KUBECONFIG}", "--request-timeout=20s", *words]


def _start_controller_manager() -> None:
    serving = certificates.ensure_leaf(
        "kube-controller-manager-server", "kube-controller-manager", (), (f"IP:{settings.LOOPBACK}", "DNS:localhost")
    )
    own = _client("kube-controller-manager", "system:kube-controller-manager")
    authority = certificates.authority()
    processes.ensure(
        "kube-controller-manager",
        [
            binaries.component("kube-controller-manager"),
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            f"--bind-address={settings.LOOPBACK}",
            f"--secure-port={settings.CONTROLLER_MANAGER_PORT}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority.certificate}",
            f"--root-ca-file={authority.certificate}",
            f"--cluster-signing-cert-file={authority.certificate}",
            f"--cluster-signing-key-file={authority.key}",
            f"--service-account-private-key-file={certificates.service_account_key()}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--profiling=false",
        ],
        urgent=True,
    )


def _start_scheduler() -> None:
    serving = certificates.ensure_leaf(
        "kube-scheduler-server", "kube-scheduler", (), (f"IP:{settings.LOOPBACK}", "DNS:localhost")
    )
    own = _client("kube-scheduler", "system:kube-scheduler")
    processes.ensure(
        "kube-scheduler",
        [
            binaries.component("kube-scheduler"),
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            f"--bind-address={settings.LOOPBACK}",
            f"--secure-port={settings.SCHEDULER_PORT}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            "--leader-elect=false",
            "--profiling=false",
        ],
        urgent=True,
    )
