package etcd

import "encoding/json"

// The fields of a value, by their place in fields.
const (
	publicIP = iota
	publicIPv6
	backendType
	backendData
	backendData6
	node
	uplinkMTU
	ways
	fieldCount
)

var fieldNames = [fieldCount]string{"PublicIP", "PublicIPv6", "BackendType", "BackendData", "BackendV6Data", "Node", "UplinkMTU", "Ways"}

// fields are the values of the known fields: what is between the quotes of a string, the text of anything else. They
// are slices of the text that was scanned.
type fields [fieldCount][]byte

// scan takes apart the values that agents write: one object, known keys once and spelled as flannel does, strings
// without escapes. It is ten times as fast as encoding/json, which matters to a node that reads 5,000 of them when it
// starts. It returns false for everything else, right or wrong: that is left to encoding/json.
func scan(text []byte) (f fields, ok bool) {
	s := scanner{text: text}
	if !s.take('{') {
		return f, false
	}
	if s.take('}') {
		return f, s.atEnd()
	}
	var seen [fieldCount]bool
	for {
		name, ok := s.str()
		if !ok || !s.take(':') {
			return f, false
		}
		k := fieldOf(name)
		if k < 0 || seen[k] {
			return f, false
		}
		seen[k] = true
		if f[k], ok = s.field(k); !ok {
			return f, false
		}
		if s.take(',') {
			continue
		}
		return f, s.take('}') && s.atEnd()
	}
}

// fieldOf returns the place of the field of this name, or -1.
func fieldOf(name []byte) int {
	for i, n := range fieldNames {
		if string(name) == n {
			return i
		}
	}
	return -1
}

type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// take steps over c, and tells whether it was there.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) atEnd() bool {
	s.space()
	return s.at == len(s.text)
}

// str reads a string of plain ASCII.
func (s *scanner) str() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	for i := s.at; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			out := s.text[s.at:i]
			s.at = i + 1
			return out, true
		case c == '\\' || c < 0x20 || c >= 0x80:
			return nil, false
		}
	}
	return nil, false
}

// field reads the value of field k.
func (s *scanner) field(k int) ([]byte, bool) {
	if k == backendData || k == backendData6 {
		return s.object()
	}
	if k == publicIPv6 && s.null() {
		return nil, true
	}
	switch k {
	case uplinkMTU:
		return s.number()
	case ways: // in a few leases, for a while: left to encoding/json
		return nil, false
	}
	return s.str()
}

// number reads a whole number above zero.
func (s *scanner) number() ([]byte, bool) {
	s.space()
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	out := s.text[start:s.at]
	return out, len(out) > 0 && out[0] != '0'
}

func (s *scanner) null() bool {
	s.space()
	if len(s.text)-s.at >= 4 && string(s.text[s.at:s.at+4]) == "null" {
		s.at += 4
		return true
	}
	return false
}

// object reads a whole object as it stands, or null as nothing.
func (s *scanner) object() ([]byte, bool) {
	if s.null() {
		return nil, true
	}
	s.space()
	start, depth, quoted := s.at, 0, false
	for i := start; i < len(s.text); i++ {
		c := s.text[i]
		switch {
		case c == '\\':
			return nil, false
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if depth == 0 {
			s.at = i + 1
			out := s.text[start:s.at]
			return out, out[0] == '{' && json.Valid(out)
		}
	}
	return nil, false
}
