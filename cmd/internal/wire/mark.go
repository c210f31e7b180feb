package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-network/weft/network/kernel"
)

// ParseMark reads NAME=NUMBER, by which a command line tells of a network beside the first. The error says what would be right.
func ParseMark(text string) (kernel.Mark, error) {
	name, number, ok := strings.Cut(text, "=")
	n, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil {
		return kernel.Mark{}, fmt.Errorf("%q is not a name and a number, such as blue=1", text)
	}
	m := kernel.Mark{Name: name, Number: uint8(n)}
	switch err := m.Check(); {
	case err != nil:
		return kernel.Mark{}, fmt.Errorf("%w; a name and a number such as blue=1 would be right", err)
	case m == kernel.Mark{}:
		return m, errors.New("the name is missing; a name and a number such as blue=1 would be right")
	}
	return m, nil
}
