// Command headroom is observability and SLO monitoring for companies that run multi-tenant SaaS. See "headroom --help".
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // calendar windows have time zones, and not every machine has the database

	"github.com/alecthomas/kong"

	"github.com/nexis-limited/headroom/engines"
)

// version is set by the linker for releases.
var version = ""

type cli struct {
	LogLevel    string      `help:"Least level that is logged: ${enum}." enum:"debug,info,warn,error" default:"info"`
	VersionFlag versionFlag `name:"version" env:"-" help:"Print the version and exit."`

	Up      upCmd      `cmd:"" help:"Run everything in one process, with databases of its own unless DSNs are given."`
	Demo    demoCmd    `cmd:"" help:"Like up, with a simulated SaaS company that pushes real OTLP."`
	Serve   serveCmd   `cmd:"" help:"Run some roles against databases that \"headroom migrate\" prepared."`
	Migrate migrateCmd `cmd:"" help:"Bring both databases to this version."`
	Engines enginesCmd `cmd:"" help:"The databases that headroom brings along."`
	Key     keyCmd     `cmd:"" help:"Make, list, rotate and revoke API keys."`
	Tenant  tenantCmd  `cmd:"" help:"Take tenants on, list, export and delete them."`
	User    userCmd    `cmd:"" help:"Let people in, change what they may do, disable and delete them."`
	SLO     sloCmd     `cmd:"" name:"slo" help:"Check, apply and read SLOs."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("headroom", buildVersion())
	return nil
}

// versionFlag is for those who try a flag first.
type versionFlag bool

// BeforeReset implements kong's hook: it runs before the missing command is noticed.
func (versionFlag) BeforeReset(k *kong.Kong) error {
	err := versionCmd{}.Run()
	k.Exit(0)
	return err
}

// buildVersion returns the released version, else the commit that the binary was built from.
func buildVersion() string {
	if version != "" {
		return version
	}
	revision, dirty := "development", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				revision = s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "-modified"
			}
		}
	}
	return revision + dirty
}

// exitError ends the process with a code of its own and without a message.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	if engines.ChildMain() { // this process is the ClickHouse that another headroom started
		return
	}
	var c cli
	k := kong.Parse(&c, kong.Name("headroom"), kong.ShortUsageOnError(),
		kong.Description("Observability and SLOs for every single tenant of a SaaS. A server's flags can be set by the environment: HEADROOM_ and the name."),
		kong.DefaultEnvars("HEADROOM"), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // kong checked it
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(log)
	err := k.Run()
	stop()
	var exit exitError
	if errors.As(err, &exit) {
		os.Exit(int(exit))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "headroom:", err)
		os.Exit(1)
	}
}
