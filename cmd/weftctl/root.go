package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

const rootHelp = `weftctl looks at Weft on this node, explains it, changes its key and
cleans up after it.

Exit status: 0 for yes or done, 1 for no (not ready, config not valid), 2 where
it could not be found out or done.`

// newRootCommand returns the whole command tree. env looks up environment variables.
func newRootCommand(env func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:           "weftctl",
		Short:         "look at Weft on this node, explain it, clean up after it",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		newStatusCommand(env),
		newCheckCommand(),
		newCleanupCommand(env),
		newWireGuardCommand(env),
		newLabCommand(),
		newVersionCommand(),
	)
	return root
}

// noArgs refuses arguments in words that do not take them for commands.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes flags only, and was given %q", cmd.Name(), args[0])
	}
	return nil
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  noArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "weftctl %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
		},
	}
}
