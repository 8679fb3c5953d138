package testenv

import (
	"context"
	"net/url"
	"testing"
	"time"
)

// PostgresUser may log in to a test's database.
type PostgresUser struct {
	Name, Password, DSN string
}

// NewPostgresUser makes a user with no rights of its own, a member of the role unless that is empty. It is dropped, with
// what it owns, when the test ends.
func NewPostgresUser(t testing.TB, pg *Postgres, role string) PostgresUser {
	t.Helper()
	u := PostgresUser{Name: freshName(), Password: freshName()}
	exec := func(ctx context.Context, sql string) {
		t.Helper()
		if _, err := pg.Owner.Exec(ctx, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	exec(t.Context(), "CREATE ROLE "+u.Name+" LOGIN PASSWORD '"+u.Password+"'; GRANT "+u.Name+" TO CURRENT_USER")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		exec(ctx, "DROP OWNED BY "+u.Name+" CASCADE; DROP ROLE "+u.Name)
	})
	if role != "" {
		exec(t.Context(), "GRANT "+role+" TO "+u.Name)
	}
	d, err := url.Parse(pg.DSN)
	if err != nil {
		t.Fatal(err)
	}
	d.User = url.UserPassword(u.Name, u.Password)
	u.DSN = d.String()
	return u
}
