// Command image makes an OCI image of a folder, as a tar file that container runtimes import, without a registry and
// without a container engine. It knows how such a file is built, and what Go modules the programs in it were built
// from; it knows nothing of what the programs do.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "image:", err)
		}
		os.Exit(1)
	}
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// options are the flags.
type options struct {
	name, version, entrypoint string
	title, licence, source    string
	arches, env               list
	root, out, sbom           string
	args                      []string // after the flags: the arguments that the image starts its program with
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.name, "name", "", "`reference` of the image, in full: docker.io/library/weft:latest")
	f.StringVar(&o.version, "version", "", "version label")
	f.StringVar(&o.entrypoint, "entrypoint", "", "`program` that the image starts; what follows the flags are its arguments")
	f.Var(&o.arches, "arch", "architecture, as Go names it; may be repeated (default amd64)")
	f.StringVar(&o.root, "root", "", "`folder` that is the root file system; with more than one architecture, of the folders that are named as they are")
	f.StringVar(&o.out, "out", "", "tar `file` to write")
	f.Var(&o.env, "env", "`NAME=value` in the program's environment; may be repeated")
	f.StringVar(&o.title, "title", "", "title label")
	f.StringVar(&o.licence, "licenses", "", "licence label, an SPDX expression")
	f.StringVar(&o.source, "source", "", "label that says where the source is")
	f.StringVar(&o.sbom, "sbom", "", "`file` to write the list of Go modules to (CycloneDX JSON); the image gets it too, under /usr/share/sbom")
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: image -name REFERENCE -root DIR -out FILE [flags] [arguments of the program]")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	o.args = f.Args()
	if len(o.arches) == 0 {
		o.arches = list{"amd64"}
	}
	return o, o.check()
}

// check says all that is missing or wrong.
func (o options) check() error {
	var errs []error
	for _, needed := range []struct{ flag, value string }{{"-name", o.name}, {"-root", o.root}, {"-out", o.out}} {
		if needed.value == "" {
			errs = append(errs, fmt.Errorf("%s is missing", needed.flag))
		}
	}
	if sorted := slices.Sorted(slices.Values(o.arches)); len(slices.Compact(sorted)) != len(o.arches) {
		errs = append(errs, fmt.Errorf("-arch is given twice: %s", o.arches.String()))
	}
	for _, e := range o.env {
		if !strings.Contains(e, "=") {
			errs = append(errs, fmt.Errorf("-env %s is not NAME=value", e))
		}
	}
	return errors.Join(errs...)
}

// run makes the image and says what it made.
func run(args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	roots, err := o.roots()
	if err != nil {
		return err
	}
	if o.sbom != "" {
		if err := o.addModules(roots); err != nil {
			return err
		}
	}
	digest, err := o.write(roots)
	if err != nil {
		return fmt.Errorf("making %s: %w", o.out, err)
	}
	_, err = fmt.Fprintf(stdout, "%s %s (%s) in %s\n", o.name, digest, strings.Join(o.arches, ", "), o.out)
	return err
}
