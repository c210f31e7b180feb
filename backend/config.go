package backend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// Reader reads the Backend object of a net-conf.json. A backend asks it for each key that it knows, and then calls
// Done, which tells all mistakes at once. Keys are matched without regard to case; the value null leaves the default.
type Reader struct {
	values  map[string]value // by the key in lower case
	order   []string
	known   []string // keys that were asked for
	faults  []error
	warning []string
}

type value struct {
	key string // as it was written
	raw json.RawMessage
}

// Read begins to read config, the Backend object as it was written; "" is an object without keys. What is wrong with
// it is told by Done. Type is known already: it says which backend reads the rest.
func Read(config string) *Reader {
	r := &Reader{values: map[string]value{}, known: []string{"Type"}}
	if strings.TrimSpace(config) == "" {
		return r
	}
	if err := r.split(config); err != nil {
		r.faults = append(r.faults, fmt.Errorf("Backend: %w", err))
	}
	return r
}

// split takes the object apart, key by key, so that no mistake in one value hides another.
func (r *Reader) split(config string) error {
	dec := json.NewDecoder(strings.NewReader(config))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("%s is not a JSON object like {\"Type\": \"vxlan\"}", short(config))
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read the JSON object: %w", noEOF(err))
		}
		v := value{key: t.(string)} // the decoder lets nothing else stand for a key
		if err := dec.Decode(&v.raw); err != nil {
			return fmt.Errorf("read the value of %q: %w", v.key, noEOF(err))
		}
		lower := strings.ToLower(v.key)
		if _, twice := r.values[lower]; twice {
			r.warning = append(r.warning, fmt.Sprintf("Backend.%s is there twice, the last one counts", v.key))
		} else {
			r.order = append(r.order, lower)
		}
		r.values[lower] = v
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("read the JSON object: %w", noEOF(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("there is something after the end of the JSON object")
	}
	return nil
}

// Int returns the whole number under key, or fallback where there is none. One outside of min to max is a mistake.
func (r *Reader) Int(key string, fallback, min, max int) int {
	raw, ok := r.take(key)
	if !ok {
		return fallback
	}
	var i int
	if err := json.Unmarshal(raw, &i); err != nil || i < min || i > max {
		r.wrong(key, raw, fmt.Sprintf("a whole number from %d to %d", min, max))
		return fallback
	}
	return i
}

// Bool returns the truth value under key, or false where there is none.
func (r *Reader) Bool(key string) bool {
	raw, ok := r.take(key)
	if !ok {
		return false
	}
	var b bool
	if err := json.Unmarshal(raw, &b); err != nil {
		r.wrong(key, raw, "true or false")
	}
	return b
}

// Text returns the string under key, or fallback where there is none.
func (r *Reader) Text(key, fallback string) string {
	raw, ok := r.take(key)
	if !ok {
		return fallback
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		r.wrong(key, raw, "a text in quotes")
		return fallback
	}
	return s
}

// Secret returns the string under key, or "" where there is none. No message shows it.
func (r *Reader) Secret(key string) string {
	raw, ok := r.take(key)
	if !ok {
		return ""
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		r.Fault(key, "what is there, which is not shown, is not a text in quotes")
	}
	return s
}

// Fault adds a mistake in the value of key to those that Done tells. why says what is wrong and what would be right; it shows
// the value where that is no secret.
func (r *Reader) Fault(key, why string) {
	r.faults = append(r.faults, fmt.Errorf("%s: %s", "Backend."+key, why))
}

// Done ends the reading. The error joins all mistakes, each with its key, the value and what would be right; the
// warnings name keys that nobody asked for, with the nearest one that is known.
func (r *Reader) Done() (warnings []string, err error) {
	for _, lower := range r.order {
		if slices.ContainsFunc(r.known, func(k string) bool { return strings.EqualFold(k, lower) }) {
			continue
		}
		w := fmt.Sprintf("Backend.%s is not known and is ignored", r.values[lower].key)
		if n := subnet.Nearest(lower, r.known); n != "" {
			w += fmt.Sprintf("; did you mean %s?", n)
		}
		r.warning = append(r.warning, w)
	}
	return r.warning, errors.Join(r.faults...)
}

func (r *Reader) take(key string) (json.RawMessage, bool) {
	r.known = append(r.known, key)
	v, ok := r.values[strings.ToLower(key)]
	if !ok || bytes.Equal(v.raw, []byte("null")) {
		return nil, false
	}
	return v.raw, true
}

func (r *Reader) wrong(key string, raw json.RawMessage, right string) {
	r.faults = append(r.faults, fmt.Errorf("%s: %s is not %s", "Backend."+key, short(string(raw)), right))
}

// noEOF says in place of "EOF" what that means inside of an object.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// short returns s on one line and not longer than a message can bear.
func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "..."
	}
	return s
}
