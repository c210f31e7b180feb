package kube

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// errTruncated says that a message ends within a field.
var errTruncated = errors.New("protobuf message is cut off")

// fields calls f with the number and the bytes of each field of a message that has bytes, and skips the others.
// Everything that Weft reads is text or a message.
func fields(b []byte, f func(number protowire.Number, value []byte) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errTruncated
		}
		b = b[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return errTruncated
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errTruncated
		}
		b = b[n:]
		if err := f(number, value); err != nil {
			return err
		}
	}
	return nil
}

// Reset and Unmarshal are how apimachinery decodes protobuf. The numbers are those of k8s.io/api/core/v1/generated.proto
// and k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto; a test compares with these. The buffer is used again by the
// caller, so that what is kept is copied.

// Reset empties n.
func (n *Node) Reset() { *n = Node{} }

// Unmarshal reads what Weft needs of a Node.
func (n *Node) Unmarshal(b []byte) error {
	err := fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 1:
			return unmarshalMeta(v, &n.ObjectMeta)
		case 2:
			return n.Spec.unmarshal(v)
		case 3:
			return n.Status.unmarshal(v)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading a Node: %w", err)
	}
	return nil
}

// Reset empties l.
func (l *NodeList) Reset() { *l = NodeList{} }

// Unmarshal reads a list of Nodes.
func (l *NodeList) Unmarshal(b []byte) error {
	err := fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 1:
			return unmarshalListMeta(v, &l.ListMeta)
		case 2:
			var n Node
			if err := n.Unmarshal(v); err != nil {
				return err
			}
			l.Items = append(l.Items, n)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading a list of Nodes: %w", err)
	}
	return nil
}

func unmarshalMeta(b []byte, m *metav1.ObjectMeta) error {
	return fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 1:
			m.Name = string(v)
		case 6:
			m.ResourceVersion = string(v)
		case 8:
			return m.CreationTimestamp.Unmarshal(v)
		case 12:
			return unmarshalAnnotation(v, m)
		}
		return nil
	})
}

// unmarshalAnnotation keeps an annotation that can be ours, under whatever prefix, or the API machinery's own.
func unmarshalAnnotation(b []byte, m *metav1.ObjectMeta) error {
	var key, value []byte
	err := fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 1:
			key = v
		case 2:
			value = v
		}
		return nil
	})
	if err != nil {
		return err
	}
	text := string(key)
	_, name, _ := strings.Cut(text, "/")
	if text != metav1.InitialEventsAnnotationKey && !isAnnotation(name) {
		return nil
	}
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[text] = string(value)
	return nil
}

func unmarshalListMeta(b []byte, m *metav1.ListMeta) error {
	return fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 2:
			m.ResourceVersion = string(v)
		case 3:
			m.Continue = string(v)
		}
		return nil
	})
}

func (s *NodeSpec) unmarshal(b []byte) error {
	return fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 1:
			s.PodCIDR = string(v)
		case 7:
			s.PodCIDRs = append(s.PodCIDRs, string(v))
		}
		return nil
	})
}

func (s *NodeStatus) unmarshal(b []byte) error {
	return fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 4:
			var c NodeCondition
			if err := c.unmarshal(v); err != nil {
				return err
			}
			if c.Type == conditionNetwork || c.Type == conditionReady {
				s.Conditions = append(s.Conditions, c)
			}
		case 5:
			var a NodeAddress
			if err := a.unmarshal(v); err != nil {
				return err
			}
			s.Addresses = append(s.Addresses, a)
		}
		return nil
	})
}

func (c *NodeCondition) unmarshal(b []byte) error {
	return fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 1:
			c.Type = string(v)
		case 2:
			c.Status = string(v)
		case 5:
			c.Reason = string(v)
		case 6:
			c.Message = string(v)
		}
		return nil
	})
}

func (a *NodeAddress) unmarshal(b []byte) error {
	return fields(b, func(number protowire.Number, v []byte) error {
		switch number {
		case 1:
			a.Type = string(v)
		case 2:
			a.Address = string(v)
		}
		return nil
	})
}
