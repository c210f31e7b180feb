package subnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// object decodes text, a JSON object, into the fields of r. It returns an error where text is no JSON object; what
// is wrong with single keys goes to p. Of a key that is there twice the last one counts, as it does for flannel.
func (p *parser) object(text string, r *raw) error {
	var whole json.RawMessage
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		return fmt.Errorf("network config is not JSON: %w%s", err, position(text, err))
	}
	dec := json.NewDecoder(strings.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("network config is not a JSON object: %s: want one such as {\"Network\": \"10.5.0.0/16\"}",
			shorten(strings.TrimSpace(text)))
	}
	return p.keys(dec, "", reflect.ValueOf(r).Elem())
}

// keys decodes the keys of the object that dec has begun to read into the fields of a struct. In messages, where comes
// before the name of a key.
func (p *parser) keys(dec *json.Decoder, where string, fields reflect.Value) error {
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fmt.Errorf("network config: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("network config: %s%s: %w", where, key, err)
		}
		name := key.(string)
		field, known := fieldOf(fields.Type(), name)
		if !known {
			p.unknown(fields.Type(), where, name)
			continue
		}
		if seen[field.Name] {
			p.warn("%s%s: given more than once; the last one counts", where, field.Name)
		}
		seen[field.Name] = true
		p.value(field, where, fields.FieldByIndex(field.Index), value)
	}
	return nil
}

// value decodes the value of one key into the field that mirrors it.
func (p *parser) value(field reflect.StructField, where string, into reflect.Value, value json.RawMessage) {
	fresh := reflect.New(field.Type)
	if err := json.Unmarshal(value, fresh.Interface()); err != nil {
		p.mistake(where+field.Name, value, "want %s", field.Tag.Get("want"))
		return
	}
	into.Set(fresh.Elem())
}

// fieldOf finds the field that mirrors a key.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	return t.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, key) })
}

// unknown warns of a key that means nothing, and names the one that may have been meant.
func (p *parser) unknown(t reflect.Type, where, key string) {
	var known []string
	for i := range t.NumField() {
		known = append(known, t.Field(i).Name)
	}
	best := Nearest(key, known)
	if best == "" {
		p.warn("%s%s: unknown key; it is ignored", where, shorten(key))
		return
	}
	p.warn("%s%s: unknown key; it is ignored; did you mean %s?", where, shorten(key), best)
}

// position says where in text a syntax error is.
func position(text string, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return ""
	}
	before := text[:min(int(syntax.Offset), len(text))]
	line := strings.Count(before, "\n") + 1
	column := len(before) - strings.LastIndexByte(before, '\n') - 1
	return fmt.Sprintf(" (line %d, column %d)", line, max(column, 1))
}
