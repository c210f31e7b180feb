package kube

import (
	"context"
	"testing"
	"time"

	"github.com/weft-network/weft/subnet/storetest"
)

// TestStore runs everything against one control plane.
func TestStore(t *testing.T) {
	c := start(t)
	t.Run("contract", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Cluster { return begin(t, c) })
	})
	for name, test := range map[string]func(*cluster){
		"heartbeats":              testHeartbeats,
		"many Nodes":              testMany,
		"nothing new":             testWritesNothing,
		"flanneld's annotations":  testAnnotations,
		"condition":               testCondition,
		"what can be missing":     testWaits,
		"controller manager":      testController,
		"changes of a peer":       testPeerChanges,
		"waiting":                 testWaiting,
		"boot without the API":    testBootWithoutAPI,
		"other pod CIDRs":         testOtherCIDR,
		"other name":              testOtherName,
		"Node is made again":      testMadeAgain,
		"node is renamed":         testRenamed,
		"addresses of the node":   testSelf,
		"API server is restarted": testRestart,
		"no rights":               testForbidden,
		"no streamed lists":       testPages,
		"name of the Node":        testName,
		"agent":                   testAgent,
		"embedding":               testEmbedding,
		"host service":            testHostService,
		"one address for two":     testTogether,
		"rival that is gone":      testRivalIsGone,
		"writes":                  testWrites,
		"Events":                  testEvents,
		"condition is left alone": testConditionIsLeft,
		"heartbeats of peers":     testBeats,
		"store is closed":         testClosed,
		"service account":         testAccount,
		"certificate authority":   testAuthority,
	} {
		t.Run(name, func(t *testing.T) { test(begin(t, c)) })
	}
}

// start starts a control plane that ends with the test, and gives the user weft its rights.
func start(t *testing.T) *ControlPlane {
	t.Helper()
	bin, err := Binaries(t.Context(), "kubebin")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := Start(ctx, bin, Options{Dir: t.TempDir(), Users: map[string]string{"weft": "weft", "nobody": "nobody"}, ClusterCIDR: "10.5.0.0/16,fd00:5::/56"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	k := &cluster{t: t, c: c}
	k.do("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": object{"name": "weft"},
		"rules": []object{
			{"apiGroups": []string{""}, "resources": []string{"nodes"}, "verbs": []string{"get", "list", "watch", "patch"}},
			{"apiGroups": []string{""}, "resources": []string{"nodes/status"}, "verbs": []string{"patch"}},
		}})
	k.do("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": object{"name": "weft"},
		"rules": []object{{"apiGroups": []string{""}, "resources": []string{"events"}, "verbs": []string{"create", "patch"}}}})
	k.do("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": object{"name": "weft"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "weft"},
		"subjects": []object{{"kind": "User", "name": "weft", "apiGroup": "rbac.authorization.k8s.io"}}})
	k.do("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": "weft"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "weft"},
		"subjects": []object{{"kind": "User", "name": "weft", "apiGroup": "rbac.authorization.k8s.io"}}})
	return c
}
