#!/bin/sh
# Moves a Kubernetes cluster from flannel to Weft node by node, and back. Documentation/moving-from-flannel.md explains it.
set -eu

usage() {
	cat <<'END'
usage: move-from-flannel.sh VERB [OPTION...]

  move     put Weft in the place of flannel, one node after the other
  back     put flannel in the place of Weft, one node after the other
  status   say which nodes have what

It needs kubectl, with the rights of an administrator, and nothing on the nodes. It can be interrupted and run again at any
point: what is done is not done twice. It stops at the first node that does not become ready, and says how to go back.
Pods keep talking all the time, and nodes of both kinds are peers of each other.

  --dry-run                print what would be changed, and change nothing
  --node NAME              only this node; may be repeated
  --manifest FILE          what installs Weft (default: weft.yaml beside this script)
  --output FILE            where what is installed is written to: keep it, it is your manifest from now on
                           (default: weft-from-flannel.yaml)
  --image REFERENCE        image of Weft (default: that of the manifest)
  --timeout SECONDS        how long a node may take to become ready (default: 180)
  --flannel-namespace NAME (default: kube-flannel)
  --flannel-daemonset NAME (default: kube-flannel-ds)
  --flannel-config NAME    ConfigMap with net-conf.json and cni-conf.json (default: kube-flannel-cfg)
END
}

say() { printf '%s\n' "$*"; }
fail() {
	printf 'move-from-flannel.sh: %s\n' "$*" >&2
	exit 1
}

# The label of Nodes says who has them: "flannel", "weft", or "none" while one leaves and the other has not come. A Node without
# it, which joined meanwhile, is Weft's.
label=weft-network/agent
# Sorts before flannel's 10-flannel.conflist, which stays for the way back.
conflist=05-weft.conflist

verb='' dry='' only='' image='' timeout=180 output=weft-from-flannel.yaml
manifest=$(dirname "$0")/weft.yaml
flannel_namespace=kube-flannel flannel_daemonset=kube-flannel-ds flannel_config=kube-flannel-cfg
while [ $# -gt 0 ]; do
	option=$1
	case $option in
	move | back | status) verb=$option ;;
	-h | --help) usage && exit ;;
	--dry-run) dry=yes ;;
	--node | --manifest | --output | --image | --timeout | --flannel-namespace | --flannel-daemonset | --flannel-config)
		[ $# -gt 1 ] || fail "$option needs a value; see --help"
		shift
		case $option in
		--node) only="$only $1" ;;
		--manifest) manifest=$1 ;;
		--output) output=$1 ;;
		--image) image=$1 ;;
		--timeout) timeout=$1 ;;
		--flannel-namespace) flannel_namespace=$1 ;;
		--flannel-daemonset) flannel_daemonset=$1 ;;
		--flannel-config) flannel_config=$1 ;;
		esac
		;;
	*) fail "what is $option? see --help" ;;
	esac
	shift
done
[ -n "$verb" ] || { usage >&2 && exit 2; }
command -v kubectl >/dev/null || fail 'kubectl is not installed, or not in the path'
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# change runs kubectl, or says that it would.
change() {
	if [ -n "$dry" ]; then
		printf 'would run: kubectl'
		for word in "$@"; do
			case $word in
			*[\ \"]*) printf " '%s'" "$word" ;;
			*) printf ' %s' "$word" ;;
			esac
		done
		echo
	else
		kubectl "$@" >"$scratch/change" 2>&1 || {
			cat "$scratch/change" >&2
			fail "kubectl $* failed; mend that and run this again"
		}
	fi
}

flannel() { kubectl -n "$flannel_namespace" get daemonset "$flannel_daemonset" -o "$1"; }
agent() {
	who=$(kubectl get node "$1" -o "jsonpath={.metadata.labels['$label']}") || fail "Node $1 cannot be read; run this again"
	printf %s "${who:-$unlabelled}"
}
unlabelled='' # whose nodes without the label are, where none was made because of --dry-run
all_nodes() { kubectl get nodes -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'; }
chosen_nodes() { if [ -n "$only" ]; then printf '%s\n' $only; else all_nodes; fi; }
# What is asked of the API server is kept in variables first: no answer must not be taken for an empty one.
unreachable='the cluster does not answer; run this again'

# pods NAMESPACE SELECTOR NODE prints a line for each pod there: whether it is ready, and since when it is being deleted.
pods() {
	kubectl -n "$1" get pods -l "$2" --field-selector "spec.nodeName=$3" \
		-o 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{" "}{.metadata.deletionTimestamp}{"\n"}{end}'
}
flannel_pods() { pods "$flannel_namespace" "$flannel_selector" "$1"; }
weft_pods() { pods weft-system app.kubernetes.io/name=weft "$1"; }

gone() { list=$("$1_pods" "$2") && [ -z "$list" ]; }
ready() {
	[ "$("$1_pods" "$2")" = 'True ' ] &&
		[ "$(kubectl get node "$2" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]
}

# await TEST AGENT NODE waits until the test succeeds.
await() {
	[ -z "$dry" ] || return 0
	left=$timeout
	until "$@"; do
		[ "$left" -gt 0 ] || return 1
		left=$((left - 1))
		sleep 1
	done
}

# stuck AGENT NODE OTHER-VERB tells what there is to know of a node that does not become ready, and ends.
stuck() {
	case $1 in
	flannel) namespace=$flannel_namespace selector=$flannel_selector ;;
	weft) namespace=weft-system selector=app.kubernetes.io/name=weft ;;
	esac
	{
		say "$2: not ready with $1 after $timeout seconds"
		kubectl -n "$namespace" get pods -l "$selector" --field-selector "spec.nodeName=$2" -o wide || :
		kubectl get node "$2" -o 'jsonpath={range .status.conditions[*]}{.type}={.status}: {.message}{"\n"}{end}' || :
		pod=$(kubectl -n "$namespace" get pods -l "$selector" --field-selector "spec.nodeName=$2" -o name | head -n 1)
		[ -z "$pod" ] || kubectl -n "$namespace" logs "$pod" --tail=15 || :
		say ''
		say "Its pods keep what they have, and the other nodes were left as they are. Mend it and run this again, or go back on this node:"
		say "  $0 $3 --node $2"
	} >&2
	exit 1
}

# hand NODE FROM TO OTHER-VERB gives a node from one agent to the other.
hand() {
	now=$(agent "$1") || exit 1
	if [ "$now" != "$3" ]; then
		say "$1: $2 leaves"
		change label node "$1" --overwrite "$label=none"
		await gone "$2" "$1" || fail "$1: the pod of $2 does not end; look at it, and run this again"
		say "$1: $3 comes"
		change label node "$1" --overwrite "$label=$3"
	fi
	await ready "$3" "$1" || stuck "$3" "$1" "$4"
	[ -n "$dry" ] || say "$1: ready with $3"
}

# look finds out what there is.
look() {
	kubectl version >/dev/null 2>"$scratch/error" || fail "kubectl does not reach the cluster: $(cat "$scratch/error")"
	flannel name >/dev/null 2>"$scratch/error" ||
		fail "there is no DaemonSet $flannel_daemonset in namespace $flannel_namespace ($(cat "$scratch/error")); name flannel's with --flannel-namespace and --flannel-daemonset"
	flannel_selector=$(flannel 'go-template={{range $k, $v := .spec.selector.matchLabels}},{{$k}}={{$v}}{{end}}')
	flannel_selector=${flannel_selector#,}
	for node in $only; do
		kubectl get node "$node" -o name >/dev/null || fail "there is no node $node"
	done
}

begun() {
	selector=$(flannel "jsonpath={.spec.template.spec.nodeSelector['$label']}") || fail "$unreachable"
	[ -n "$selector" ]
}

# begin ties flannel to its nodes. Its pods are not restarted.
begin() {
	if begun; then return; fi
	[ "$(flannel 'jsonpath={.status.numberReady}')" = "$(flannel 'jsonpath={.status.desiredNumberScheduled}')" ] ||
		fail 'flannel is not ready on all of its nodes; mend that first'
	nodes=$(all_nodes) || fail "$unreachable"
	for node in $nodes; do
		now=$(agent "$node") || exit 1
		[ -n "$now" ] || change label node "$node" "$label=flannel"
	done
	[ -z "$dry" ] || unlabelled=flannel
	strategy=$(flannel 'jsonpath={.spec.updateStrategy}') || fail "$unreachable"
	quoted=$(printf '%s' "$strategy" | sed 's/"/\\"/g')
	change -n "$flannel_namespace" patch daemonset "$flannel_daemonset" --type merge -p "{\"metadata\": {\"annotations\": {\"weft-network/update-strategy\": \"$quoted\"}},
 \"spec\": {\"updateStrategy\": {\"type\": \"OnDelete\", \"rollingUpdate\": null}, \"template\": {\"spec\": {\"nodeSelector\": {\"$label\": \"flannel\"}}}}}"
}

# flannel_flags prints those of flannel's flags that are about nodes and the network, one a line.
flannel_flags() {
	masquerade=--ip-masq=false
	flannel 'jsonpath={range .spec.template.spec.containers[0].command[*]}{@}{"\n"}{end}{range .spec.template.spec.containers[0].args[*]}{@}{"\n"}{end}' >"$scratch/flags" || fail "$unreachable"
	while read -r flag; do
		name=--$(printf '%s' "$flag" | sed 's/^-*//')
		case $name in
		--ip-masq | --ip-masq=*) masquerade=$name ;;
		--iface=* | --iface-regex=* | --iface-can-reach=* | --public-ip=* | --public-ipv6=* | --kube-annotation-prefix=*) say "$name" ;;
		--iface | --iface-regex | --iface-can-reach | --public-ip | --public-ipv6 | --kube-annotation-prefix)
			read -r value && say "$name=$value"
			;;
		--ip-masq-fully-random-disable* | --ip-blackhole-route* | --iptables-forward-rules* | --set-node-network-unavailable*) say "$name" ;;
		--kube-subnet-mgr* | --healthz-* | --net-config-path=* | --subnet-file=* | --v=* | --kube-api-url=* | --kubeconfig-file=* | --iptables-resync* | --/*) ;;
		*) say "flannel's flag $flag is not taken over" >&2 ;;
		esac
	done <"$scratch/flags"
	say "$masquerade"
	flannel 'jsonpath={range .spec.template.spec.containers[0].env[*]}{.name}{"\n"}{end}' >"$scratch/env" || fail "$unreachable"
	sed -n "/^FLANNELD_/s/.*/flannel's environment variable & is not taken over/p; /^KUBERNETES_SERVICE_/s/.*/flannel's environment variable & is not taken over/p" "$scratch/env" >&2
}

flannel_conf() {
	kubectl -n "$flannel_namespace" get configmap "$flannel_config" -o "jsonpath={.data.$1\\.json}" 2>"$scratch/error" ||
		fail "flannel's ConfigMap cannot be read: $(cat "$scratch/error"); name it with --flannel-config"
}

indent() { sed 's/^/    /' "$1" && echo; }

# render writes what installs Weft in this cluster: flannel's network config and chain of plugins, with its name, by which
# host-local knows which addresses are taken.
render() {
	[ -r "$manifest" ] || fail "there is no manifest $manifest; name it with --manifest"
	flannel_conf net-conf >"$scratch/net-conf.json"
	backend=$(tr -d '\n' <"$scratch/net-conf.json" | sed -n 's/.*"[Tt][Yy][Pp][Ee]"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p')
	case $backend in
	vxlan | host-gw | alloc) ;;
	*) fail "flannel's backend is ${backend:-udp}; Weft can take over from vxlan, host-gw and alloc" ;;
	esac
	flannel_conf cni-conf | sed 's/\("type"[[:space:]]*:[[:space:]]*\)"flannel"/\1"weft"/' >"$scratch/cni-conf.json"
	grep -q '"weft"' "$scratch/cni-conf.json" || fail "cni-conf.json of ConfigMap $flannel_config names no plugin of the type flannel"
	{ say "--cni-conf-name=$conflist" && flannel_flags; } >"$scratch/args"
	cp "$manifest" "$scratch/weft.yaml"
	{
		printf '%s\n' 'apiVersion: v1' 'kind: ConfigMap' 'metadata: {name: weft-config, namespace: weft-system}' 'data:' '  net-conf.json: |2'
		indent "$scratch/net-conf.json"
		say '  cni-conf.json: |2'
		indent "$scratch/cni-conf.json"
	} >"$scratch/config.yaml"
	{
		say '- op: add'
		say '  path: /spec/template/spec/affinity'
		say "  value: $affinity"
		while read -r flag; do
			printf '%s\n' '- op: add' '  path: /spec/template/spec/containers/0/args/-' "  value: '$flag'"
		done <"$scratch/args"
		[ -z "$image" ] || printf '%s\n' '- op: replace' '  path: /spec/template/spec/containers/0/image' "  value: \"$image\""
	} >"$scratch/daemonset.yaml"
	printf '%s\n' 'resources: [weft.yaml]' 'patches:' '- path: config.yaml' '- path: daemonset.yaml' '  target: {kind: DaemonSet, name: weft}' >"$scratch/kustomization.yaml"
	kubectl kustomize "$scratch" >"$scratch/rendered.yaml"
}
affinity="{\"nodeAffinity\": {\"requiredDuringSchedulingIgnoredDuringExecution\": {\"nodeSelectorTerms\": [{\"matchExpressions\": [{\"key\": \"$label\", \"operator\": \"NotIn\", \"values\": [\"flannel\", \"none\"]}]}]}}}"

move() {
	look
	render
	begin
	if [ -z "$dry" ]; then
		cp "$scratch/rendered.yaml" "$output"
		say "what is installed is in $output: keep it"
	fi
	change apply -f "$output"
	nodes=$(chosen_nodes) || fail "$unreachable"
	for node in $nodes; do
		now=$(agent "$node") || exit 1
		case $now in
		'') await ready weft "$node" || stuck weft "$node" back ;;
		flannel)
			if gone flannel "$node"; then
				say "$node: flannel does not run here, left alone"
			else
				hand "$node" flannel weft back
			fi
			;;
		*) hand "$node" flannel weft back ;;
		esac
	done
	[ -n "$dry$only" ] || say 'all nodes have Weft; flannel waits, without pods, for the case that you go back'
}

# clean NODE removes from a node what only Weft has a use for.
clean() {
	if [ -n "$dry" ]; then
		say "would run: weftctl cleanup --for-flannel in a pod on $1"
		return
	fi
	image=$(kubectl -n weft-system get daemonset weft -o 'jsonpath={.spec.template.spec.containers[0].image}')
	change -n weft-system delete pod weft-cleanup --ignore-not-found --wait
	cat >"$scratch/cleanup.yaml" <<END
apiVersion: v1
kind: Pod
metadata: {name: weft-cleanup, namespace: weft-system}
spec:
  nodeName: "$1"
  hostNetwork: true
  restartPolicy: Never
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  tolerations: [{operator: Exists}]
  containers:
  - name: weftctl
    image: "$image"
    imagePullPolicy: IfNotPresent
    command: [/usr/local/bin/weftctl, cleanup, --for-flannel]
    securityContext: {runAsUser: 0, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_ADMIN]}}
    volumeMounts: [{name: flannel, mountPath: /run/flannel}, {name: weft, mountPath: /run/weft}, {name: state, mountPath: /var/lib/weft}, {name: cni, mountPath: /etc/cni/net.d}]
  volumes:
  - {name: flannel, hostPath: {path: /run/flannel, type: DirectoryOrCreate}}
  - {name: weft, hostPath: {path: /run/weft, type: DirectoryOrCreate}}
  - {name: state, hostPath: {path: /var/lib/weft, type: DirectoryOrCreate}}
  - {name: cni, hostPath: {path: /etc/cni/net.d}}
END
	change apply -f "$scratch/cleanup.yaml"
	if await ended && [ "$(phase)" = Succeeded ]; then
		kubectl -n weft-system logs weft-cleanup | sed "s/^/$1: /"
	else
		say "$1: was not cleaned ($(phase) $(held)), which does no harm; what is only Weft's stays there:"
		kubectl -n weft-system logs weft-cleanup 2>&1 | sed "s/^/$1: /" || :
	fi
	change -n weft-system delete pod weft-cleanup --wait
}
phase() { kubectl -n weft-system get pod weft-cleanup -o 'jsonpath={.status.phase}'; }
held() { kubectl -n weft-system get pod weft-cleanup -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}'; }
ended() { case "$(phase) $(held)" in Succeeded* | Failed* | *Image*) ;; *) false ;; esac }

back() {
	look
	if begun; then
		there=$(kubectl -n weft-system get daemonset weft -o name --ignore-not-found) || fail "$unreachable"
		if [ -n "$there" ]; then
			change -n weft-system patch daemonset weft --type merge -p "{\"spec\": {\"template\": {\"spec\": {\"affinity\": $affinity}}}}"
			nodes=$(chosen_nodes) || fail "$unreachable"
			for node in $nodes; do
				now=$(agent "$node") || exit 1
				if [ "$now" = flannel ] && gone flannel "$node"; then
					continue # it was left alone
				fi
				hand "$node" weft flannel move
				clean "$node"
			done
			[ -z "$only" ] || return 0
			change delete -f "$manifest" --ignore-not-found
		fi
		strategy=$(flannel "jsonpath={.metadata.annotations['weft-network/update-strategy']}") || fail "$unreachable"
		change -n "$flannel_namespace" patch daemonset "$flannel_daemonset" --type merge -p "{\"metadata\": {\"annotations\": {\"weft-network/update-strategy\": null}},
 \"spec\": {\"updateStrategy\": ${strategy:-null}, \"template\": {\"spec\": {\"nodeSelector\": {\"$label\": null}}}}}"
	fi
	nodes=$(all_nodes) || fail "$unreachable"
	for node in $nodes; do
		now=$(agent "$node") || exit 1
		[ -z "$now" ] || change label node "$node" "$label-"
	done
	[ -z "$dry" ] || return 0
	say 'Weft is gone; flannel, which is tied to no nodes any more, restarts'
	kubectl -n "$flannel_namespace" rollout status "daemonset/$flannel_daemonset" --timeout=30m >"$scratch/change" 2>&1 || {
		tail -n 1 "$scratch/change" >&2
		fail 'flannel does not become ready on all nodes; look at its pods'
	}
	say 'all nodes have flannel'
}

status() {
	look
	begun || say 'nothing was moved: flannel has all nodes'
	nodes=$(chosen_nodes) || fail "$unreachable"
	for node in $nodes; do
		for who in flannel weft; do
			case $("${who}_pods" "$node") in
			'') ;;
			'True ') say "$node: $who, ready" ;;
			*) say "$node: $who, not ready" ;;
			esac
		done
	done
}

"$verb"
