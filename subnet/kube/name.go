package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// NodeName asks the API on which node a pod runs: the name of the Node that is this agent's, where nothing else tells.
// Node in o need not be set.
func NodeName(ctx context.Context, o Options, namespace, pod string) (string, error) {
	o.Node = "unknown"
	s, err := New(o)
	if err != nil {
		return "", err
	}
	defer s.Close()
	var p struct {
		Spec struct{ NodeName string }
	}
	err = s.request(ctx, fmt.Sprintf("read pod %s/%s", namespace, pod), func(ctx context.Context, c *client) error {
		text, err := c.Get().Namespace(namespace).Resource("pods").Name(pod).SetHeader("Accept", "application/json").MaxRetries(0).Do(ctx).Raw()
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &p)
	})
	if err == nil && p.Spec.NodeName == "" {
		err = errors.New("the pod is on no node yet")
	}
	if refusal(err) {
		err = fmt.Errorf("there is no pod %s/%s: POD_NAMESPACE and POD_NAME must be this pod's", namespace, pod)
	}
	if err != nil {
		return "", fmt.Errorf("finding this node's name: %w", err)
	}
	return p.Spec.NodeName, nil
}
