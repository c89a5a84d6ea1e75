// Command issuer is an OpenID provider for the local cluster: zitadel/oidc, a certified implementation, with people from a file.
//
// Its tokens say which account it is (sub, preferred_username), which human (employee_id), in which groups, and when the
// person signed in (auth_time). People sign in by a browser (code with PKCE) or on another device (RFC 8628). Everything is
// kept in memory: who restarts it signs in anew.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// account is one line of the people's file. Two accounts with one employee id are one human.
type account struct {
	Username   string   `json:"username"`
	Password   string   `json:"password"`
	EmployeeID string   `json:"employeeId"`
	Groups     []string `json:"groups"`
}

// directory is where the provider looks people up: an account's id is its username.
type directory map[string]account

func (people directory) GetUserByID(id string) *storage.User {
	found, known := people[id]
	if !known {
		return nil
	}
	return &storage.User{ID: found.Username, Username: found.Username, Password: found.Password}
}

func (people directory) GetUserByUsername(username string) *storage.User {
	return people.GetUserByID(username)
}

func (people directory) ExampleClientID() string {
	return storage.ServiceUserID
}

// provider adds to ID tokens what Kubernetes maps to user name, groups and extra.
type provider struct {
	*storage.Storage
	people directory
}

// client is the native application, which may also sign people in on another device.
type client struct {
	op.Client
}

func (c client) GrantTypes() []oidc.GrantType {
	return append(c.Client.GrantTypes(), oidc.GrantTypeDeviceCode)
}

func (p provider) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	found, err := p.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return client{found}, nil
}

// CompleteDeviceAuthorization keeps when the person signed in, which the example's storage does for browsers only.
func (p provider) CompleteDeviceAuthorization(ctx context.Context, code, subject string) error {
	state, err := p.GetDeviceAuthorizationByUserCode(ctx, code)
	if err != nil {
		return err
	}
	state.AuthTime = time.Now()
	return p.Storage.CompleteDeviceAuthorization(ctx, code, subject)
}

// CreateAccessAndRefreshTokens keeps whose token it is that another device gets: the example's storage forgets the client.
func (p provider) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, current string) (string, string, time.Time, error) {
	if state, ok := request.(*op.DeviceAuthorizationState); ok {
		request = storage.RefreshTokenRequestFromBusiness(&storage.RefreshToken{
			ApplicationID: state.ClientID, UserID: state.Subject, Audience: state.GetAudience(), Scopes: state.Scopes, AuthTime: state.AuthTime,
		})
	}
	return p.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
}

func (p provider) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	if err := p.Storage.SetUserinfoFromRequest(ctx, info, request, scopes); err != nil {
		return err
	}
	person := p.people[request.GetSubject()]
	info.PreferredUsername = person.Username
	info.AppendClaims("groups", person.Groups)
	if person.EmployeeID != "" {
		info.AppendClaims("employee_id", person.EmployeeID)
	}
	return nil
}

func main() {
	address := flag.String("address", "", "host:port to listen on; the issuer is https://host:port")
	certificate := flag.String("certificate", "", "file of the server's certificate")
	key := flag.String("key", "", "file of its private key")
	file := flag.String("people", "", "JSON file: a list of accounts")
	name := flag.String("client", "", "id of the only client, a native application")
	flag.Parse()

	people, err := read(*file)
	if err != nil {
		log.Fatalf("%s: %v", *file, err)
	}
	storage.RegisterClients(storage.NativeClient(*name, "http://localhost"))
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	handler := exampleop.SetupServer("https://"+*address, provider{storage.NewStorage(people), people}, logger, false)
	server := &http.Server{Addr: *address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServeTLS(*certificate, *key))
}

func read(file string) (directory, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var accounts []account
	if err := json.Unmarshal(text, &accounts); err != nil {
		return nil, err
	}
	people := directory{}
	for _, one := range accounts {
		people[one.Username] = one
	}
	return people, nil
}
