package kube

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What the API server refuses comes with the remedy, and with the one that helps.
func TestAdvise(t *testing.T) {
	nodes := schema.GroupResource{Resource: "nodes"}
	// A policy that gives no reason of its own makes it "invalid", in the words of "forbidden".
	refused := apierrors.NewForbidden(nodes, "n", errors.New("ValidatingAdmissionPolicy 'weft' denied request: no"))
	refused.ErrStatus.Reason, refused.ErrStatus.Code = metav1.StatusReasonInvalid, http.StatusUnprocessableEntity
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"rights", apierrors.NewForbidden(nodes, "n", errors.New("cannot patch")), "cannot patch: weftd must be allowed to get, list, watch and patch nodes, and to patch nodes/status"},
		{"policy", refused,
			"denied request: no: this policy is not for this weftd, or for other settings of it: apply the manifest again, which has both"},
		{"credentials", apierrors.NewUnauthorized("no"), "the credentials (creds) have expired or are not this cluster's"},
		{"a stream that never was", errUnanswered, "a connection that broke: is it running, and reachable from here?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := (&Store{}).advise(c.err, "creds")
			if !strings.Contains(got.Error(), c.want) || !errors.Is(got, c.err) {
				t.Errorf("said %q, want %q in it", got, c.want)
			}
		})
	}
}
