package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

type userCmd struct {
	Add    userAddCmd    `cmd:"" help:"Let a person in, who signs in by password or at the OpenID provider."`
	List   userListCmd   `cmd:"" help:"List the people."`
	Set    userSetCmd    `cmd:"" help:"Change a person's role or password, disable or enable them."`
	Delete userDeleteCmd `cmd:"" help:"Delete a person; their sessions end."`
}

// apiUser is a person in the API's answers.
type apiUser struct {
	ID           int64      `json:"id"`
	Email        string     `json:"email"`
	Name         string     `json:"name"`
	Role         string     `json:"role"`
	HasPassword  bool       `json:"has_password"`
	Issuer       string     `json:"issuer"`
	DisabledAt   *time.Time `json:"disabled_at"`
	LastSignInAt *time.Time `json:"last_sign_in_at"`
}

// readPassword reads one line. A flag with the password itself would be in the shell's history and in the list of processes.
func readPassword(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return "", fmt.Errorf("--password-stdin: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", errors.New("--password-stdin: the first line of standard input is empty")
	}
	return line, nil
}

type userAddCmd struct {
	clientFlags
	Email         string `arg:"" help:"The person's address."`
	Role          string `env:"-" help:"owner, admin, manager, member or viewer. Without one only their tenants say what they may do."`
	Name          string `env:"-" help:"What people call them."`
	PasswordStdin bool   `env:"-" help:"Read their password from the first line of standard input. Without, they sign in at the OpenID provider."`
}

func (c *userAddCmd) Run(ctx context.Context) error {
	in := map[string]any{"email": c.Email, "name": c.Name, "role": c.Role}
	if c.PasswordStdin {
		password, err := readPassword(os.Stdin)
		if err != nil {
			return err
		}
		in["password"] = password
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var out apiUser
	if err := c.call(ctx, http.MethodPost, "/users", "application/json", body, &out); err != nil {
		return err
	}
	fmt.Printf("%s: let in\n", out.Email)
	return nil
}

func (f *clientFlags) users(ctx context.Context) ([]apiUser, error) {
	var out struct {
		Users []apiUser `json:"users"`
	}
	err := f.call(ctx, http.MethodGet, "/users", "", nil, &out)
	return out.Users, err
}

// userPath returns the API's path of the person with the address.
func (f *clientFlags) userPath(ctx context.Context, email string) (string, error) {
	list, err := f.users(ctx)
	if err != nil {
		return "", err
	}
	for _, u := range list {
		if strings.EqualFold(u.Email, email) {
			return fmt.Sprintf("/users/%d", u.ID), nil
		}
	}
	return "", fmt.Errorf("there is no user %q", email)
}

type userListCmd struct{ clientFlags }

func (c *userListCmd) Run(ctx context.Context) error {
	list, err := c.users(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ADDRESS\tNAME\tROLE\tSIGNS IN BY\tLAST SIGN-IN\tSTATE")
	for _, u := range list {
		var by []string
		if u.HasPassword {
			by = append(by, "password")
		}
		if u.Issuer != "" {
			by = append(by, u.Issuer)
		}
		state := "works"
		if u.DisabledAt != nil {
			state = "disabled"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Email, u.Name, u.Role, strings.Join(by, ", "), orNever(u.LastSignInAt), state)
	}
	return w.Flush()
}

type userSetCmd struct {
	clientFlags
	Email         string  `arg:"" help:"The person's address."`
	Role          *string `env:"-" help:"Their new role; none takes it away."`
	PasswordStdin bool    `env:"-" help:"Read a new password from the first line of standard input; their sessions end."`
	Disable       bool    `env:"-" help:"Let them in no more; their sessions end." xor:"disable"`
	Enable        bool    `env:"-" help:"Let them in again." xor:"disable"`
}

func (c *userSetCmd) Run(ctx context.Context) error {
	in := map[string]any{}
	if c.Role != nil {
		if in["role"] = *c.Role; *c.Role == "none" {
			in["role"] = ""
		}
	}
	if c.Disable || c.Enable {
		in["disabled"] = c.Disable
	}
	if c.PasswordStdin {
		password, err := readPassword(os.Stdin)
		if err != nil {
			return err
		}
		in["password"] = password
	}
	if len(in) == 0 {
		return errors.New("nothing to change: give --role, --password-stdin, --disable or --enable")
	}
	path, err := c.userPath(ctx, c.Email)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if err := c.call(ctx, http.MethodPatch, path, "application/json", body, nil); err != nil {
		return err
	}
	fmt.Printf("%s: changed\n", c.Email)
	return nil
}

type userDeleteCmd struct {
	clientFlags
	Email string `arg:"" help:"The person's address."`
}

func (c *userDeleteCmd) Run(ctx context.Context) error {
	path, err := c.userPath(ctx, c.Email)
	if err != nil {
		return err
	}
	if err := c.call(ctx, http.MethodDelete, path, "", nil, nil); err != nil {
		return err
	}
	fmt.Printf("%s: deleted\n", c.Email)
	return nil
}
