// The lab's authorization server: oidc-provider, which the OpenID Foundation certifies.
//
//   node provider.mjs PORT KEYS CERTIFIED
//
// It writes its public key where Dovecot 2.3 looks for it, KEYS/default/RS256/lab, and serves until it
// is told to stop. Its clients:
//
//   daemon, alice, bob, carol   each user of the lab, so that anybody's token is to be had by the client
//                               credentials grant (RFC 6749 section 4.4)
//   certified                   the same for carol, proved by the key whose public half CERTIFIED is, a JWK
//   panel                       an installed application without a secret: code with PKCE, device code
//   fleet                       a web application with a secret, for the staff of a fleet
//   central                     a web application with a secret, for the pages of a fleet
//   dovecot                     whoever introspects
//
// What a token looks like is told by the resource indicator (RFC 8707):
// https://mail.test/?format=opaque|jwt&lifetime=SECONDS&pad=OCTETS

import { generateKeyPairSync, verify } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Provider, errors } from 'oidc-provider';

const [port, keys, certified] = process.argv.slice(2);
const resource = 'https://mail.test/';
const users = ['daemon', 'alice', 'bob', 'carol'];

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
mkdirSync(`${keys}/default/RS256`, { recursive: true });
writeFileSync(`${keys}/default/RS256/lab`, publicKey.export({ format: 'pem', type: 'spki' }));

// After plus signs, the login of a person names their groups.
const email = (id) => `${id === 'certified' ? 'carol' : id.split('+')[0]}@example.test`;
const groups = (id) => id.split('+').slice(1);

const shape = (indicator) => {
  const query = new URL(indicator).searchParams;
  return {
    format: query.get('format') ?? 'opaque',
    lifetime: Number(query.get('lifetime') ?? 3600),
    pad: Number(query.get('pad') ?? 0),
  };
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'lab', alg: 'RS256', use: 'sig' }] },
  cookies: { keys: ['lab'] },
  clients: [
    ...users.map((user) => ({
      client_id: user,
      client_secret: `${user}-secret`,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    })),
    {
      client_id: 'certified',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [JSON.parse(readFileSync(certified))] },
    },
    {
      client_id: 'signing',
      client_secret: 'the secret that signing signs with',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'client_secret_jwt',
    },
    {
      client_id: 'panel',
      application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1', 'http://localhost'],
      token_endpoint_auth_method: 'none',
    },
    {
      client_id: 'fleet',
      client_secret: 'fleet-secret',
      application_type: 'native', // so that its loopback address may have any port
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/sign-in/callback'],
      post_logout_redirect_uris: ['http://127.0.0.1/sign-in'],
    },
    {
      client_id: 'exact',
      application_type: 'web',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['https://printer.example.test/signed-in'],
      token_endpoint_auth_method: 'none',
    },
    {
      client_id: 'central',
      client_secret: 'central-secret',
      application_type: 'web',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['https://mail-setup.example.test/consent/callback'],
    },
    {
      client_id: 'dovecot',
      client_secret: 'dovecot-secret',
      grant_types: [],
      response_types: [],
      redirect_uris: [],
    },
  ],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: email(id), email_verified: true, groups: groups(id) }) }),
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false, // the address stands in the id token, as it does at Microsoft and Google
  rotateRefreshToken: true,
  extraTokenClaims: (ctx, token) => ({
    email: email(token.accountId ?? token.clientId),
    pad: 'x'.repeat(shape(token.aud).pad) || undefined,
  }),
  formats: {
    customizers: {
      // RFC 9068 says at+jwt, which Dovecot 2.3 does not take.
      jwt: (ctx, token, jwt) => Object.assign(jwt, { header: { ...jwt.header, typ: 'JWT' } }),
    },
  },
  features: {
    devInteractions: { enabled: true }, // its pages for login (with any password) and consent
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'dovecot' },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, indicator) => {
        if (!indicator.startsWith(resource)) throw new errors.InvalidTarget();
        const { format, lifetime } = shape(indicator);
        return {
          scope: 'mail.pop mail.send calendar',
          audience: indicator,
          accessTokenFormat: format,
          accessTokenTTL: lifetime,
        };
      },
    },
  },
  ttl: {
    AccessToken: (ctx, token) => token.resourceServer.accessTokenTTL,
    ClientCredentials: (ctx, token) => token.resourceServer.accessTokenTTL,
    DeviceCode: 600,
    Grant: 86400,
    IdToken: 3600,
    Interaction: 600,
    RefreshToken: 86400,
    Session: 86400,
  },
});

// oidc-provider introspects opaque tokens alone and answers 400 to a JWT, which Dovecot takes for a passing
// fault of the server. Dovecot 2.3 checks a JWT by itself first, but 2.4 knows one way for all tokens.
const introspect = (token) => {
  const [header, payload, signature = ''] = token.split('.');
  const signed = Buffer.from(`${header}.${payload}`);
  if (!verify('sha256', signed, publicKey, Buffer.from(signature, 'base64url'))) return { active: false };
  const claims = JSON.parse(Buffer.from(payload, 'base64url'));
  return claims.exp > Date.now() / 1000 ? { active: true, ...claims } : { active: false };
};
provider.use(async (ctx, next) => {
  await next();
  if (ctx.oidc?.route === 'introspection' && ctx.body?.error === 'unsupported_token_type') {
    ctx.status = 200;
    ctx.body = introspect(ctx.oidc.params.token);
  }
});

for (const event of ['server_error', 'grant.error']) {
  provider.on(event, (ctx, error) => console.error(event, error.error_detail ?? error));
}
provider.listen(Number(port), '127.0.0.1', () => console.log('listening on', port));
