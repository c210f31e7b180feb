package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// limit is how long an answer may take.
const limit = 5 * time.Second

// ask sends bytes to something that serves and prints who answers, whose address it saw, the asker's address by its own
// account, and how long it took: "NAME ADDRESS:PORT ADDRESS:PORT 0.3ms". All that was sent has to come back.
func ask(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("ask", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the usage
	size, from := flags.Int("bytes", 0, ""), flags.String("from", "", "")
	patience := flags.Duration("patience", limit, "")
	if err := flags.Parse(args); err != nil || flags.NArg() != 2 {
		return errors.Join(err, errors.New(usage))
	}
	ctx, cancel := context.WithTimeout(ctx, *patience)
	defer cancel()
	network, to := flags.Arg(0), flags.Arg(1)
	conn, err := dial(ctx, network, *from, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	way := overHTTP
	if network == "udp" {
		way = overUDP
	}
	begin := time.Now()
	said, err := way(conn, bytes.Repeat([]byte("."), *size))
	if err != nil {
		return fmt.Errorf("ask %s over %s: %w", to, network, errors.Join(err, ctx.Err()))
	}
	_, err = fmt.Fprintln(out, said, conn.LocalAddr(), time.Since(begin))
	return err
}

// dial connects from an address of this machine, or from any.
func dial(ctx context.Context, network, from, to string) (net.Conn, error) {
	var d net.Dialer
	if from != "" {
		ip := net.ParseIP(from)
		if ip == nil {
			return nil, fmt.Errorf("-from %q is no address", from)
		}
		d.LocalAddr = &net.TCPAddr{IP: ip}
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: ip}
		}
	}
	return d.DialContext(ctx, network, to)
}

// overUDP sends one packet.
func overUDP(conn net.Conn, load []byte) (string, error) {
	if _, err := conn.Write(load); err != nil {
		return "", err
	}
	buf := make([]byte, biggest)
	n, err := conn.Read(buf)
	if err != nil {
		return "", err
	}
	if n < len(load) {
		return "", fmt.Errorf("%d of %d bytes came back", n, len(load))
	}
	text := strings.TrimSpace(string(buf[:n]))
	return text[strings.LastIndex(text, "\n")+1:], nil
}

// overHTTP sends one request.
func overHTTP(conn net.Conn, load []byte) (string, error) {
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	answer, err := client.Post("http://"+conn.RemoteAddr().String(), "text/plain", bytes.NewReader(load))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	said, back, _ := strings.Cut(string(text), "\n")
	if err == nil && back != string(load) {
		err = fmt.Errorf("%d of %d bytes came back", len(back), len(load))
	}
	return strings.TrimSpace(said), cmp.Or(err, statusError(answer))
}

// statusError is nil where an answer is a good one.
func statusError(answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}
