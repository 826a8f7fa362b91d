// The pages behind the links of invites, in a real browser: somebody who has nothing but a link gets an account, and a
// place in a room.
//
// Driven by crates/server/tests/it/third_party, or by hand, with two servers that have no account yet, the first of them
// with MESH_REGISTRATION=invite:
//
//     MESH_TEST_NODE_MODULES=…/node_modules MESH_TEST_CHROMIUM=/usr/bin/chromium node invites.mjs http://127.0.0.1:8000 http://127.0.0.1:8001
//
// It says "invited" at the end.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const { chromium } = require(`${process.env.MESH_TEST_NODE_MODULES}/playwright-core`)

const [closed, open] = process.argv.slice(2)
const password = 'correct horse battery'

async function api(base, method, path, token, body) {
  const headers = { 'content-type': 'application/json' }
  if (token) headers.authorization = `Bearer ${token}`
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) })
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`)
  return answer.status === 204 ? null : answer.json()
}

const enter = async (base, username, path = '/api/auth/login') =>
  (await api(base, 'POST', path, null, { username, password })).access_token

/** Where an invite's link leads, at the server under test, whose port its public URL cannot know. */
const link = (base, invite) => base + invite.url.slice(new URL(invite.url).origin.length)

/** RFC 6238 of a secret in base 32, now. */
function code(secret) {
  const bits = [...secret].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)))
  const mac = createHmac('sha1', key).update(counter).digest()
  const at = mac[19] & 15
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

const folder = mkdtempSync(join(tmpdir(), 'mesh-invites-'))
const browser = await chromium.launch({
  executablePath: process.env.MESH_TEST_CHROMIUM,
  env: { ...process.env, HOME: folder },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
})

/** A page that may ask no other server, and whose scripts may fail nowhere. */
async function visit(url, options = {}) {
  const context = await browser.newContext({ locale: 'en-GB', ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  page.on('request', (request) => {
    assert.equal(new URL(request.url()).origin, new URL(url).origin, `asks ${request.url()}`)
    assert.ok(!request.url().includes('horse'), `a password stands in ${request.url()}`)
  })
  page.on('pageerror', (error) => assert.fail(`${url}: ${error}`))
  const policy = (message) => assert.ok(!message.text().includes('Content Security Policy'), message.text())
  if (options.javaScriptEnabled !== false) page.on('console', policy)
  const answer = await page.goto(url)
  assert.equal(answer.status(), 200)
  return page
}

const says = (page, text) => page.locator('#said', { hasText: text }).waitFor()

async function fill(page, username, secret = password) {
  await page.fill('#username', username)
  await page.fill('#password', secret)
  await page.click('#go')
}

async function done(page, username) {
  await page.locator('#done').waitFor({ state: 'visible' })
  assert.equal(await page.textContent('#name'), username)
  assert.equal(await page.textContent('#server'), new URL(page.url()).origin)
  assert.ok(!(await page.isVisible('#form')))
  // Nothing is kept in the browser.
  assert.deepEqual(await page.context().cookies(), [])
  assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0)
  await page.context().close()
}

async function members(base, token, room) {
  return (await api(base, 'GET', `/api/rooms/${room}/members`, token)).map((member) => member.username)
}

try {
  // --- A server that wants an invite ---
  const ana = await enter(closed, 'ana', '/api/auth/register')
  const invite = await api(closed, 'POST', '/api/admin/invites', ana, { max_uses: 1 })
  let page = await visit(link(closed, invite))
  assert.equal(await page.title(), 'Make your account')
  // The browser itself asks for what is allowed: nothing is sent.
  const wrong = (id, how) => page.evaluate(([id, how]) => document.getElementById(id).validity[how], [id, how])
  await fill(page, 'ben', 'short')
  assert.ok(await wrong('password', 'tooShort'))
  await fill(page, 'no name')
  assert.ok(await wrong('username', 'patternMismatch'))
  // What only the server counts is told in its words.
  await fill(page, 'ben', 'é'.repeat(40))
  await says(page, '72')
  await fill(page, 'ana')
  await says(page, 'This user name is taken.')
  await fill(page, 'ben')
  await done(page, 'ben')
  // The login that the page made is over: there is the new one alone.
  const ben = await enter(closed, 'ben')
  assert.equal((await api(closed, 'GET', '/api/auth/sessions', ben)).length, 1)
  page = await visit(link(closed, invite))
  await fill(page, 'cleo')
  await says(page, 'This invite is not valid any more: ask for a new one.')
  await page.context().close()
  page = await visit(`${closed}/register`)
  await fill(page, 'cleo')
  await says(page, 'This server takes no registrations without an invite; ask its administrator.')
  await page.context().close()

  // --- An invite to a room, for somebody who has an account, and a second factor ---
  const room = (await api(closed, 'POST', '/api/rooms', ana, { name: 'Cuisine <b>' })).id
  const into = await api(closed, 'POST', `/api/rooms/${room}/invites`, ana, { max_uses: 1 })
  const { secret } = await api(closed, 'POST', '/api/auth/totp', ben)
  const { recovery_codes } = await api(closed, 'POST', '/api/auth/totp/confirm', ben, { code: code(secret) })
  page = await visit(link(closed, into))
  assert.equal(await page.title(), 'You are invited to a room')
  assert.ok(!(await page.isVisible('#other')), 'nobody makes an account here without an invite')
  assert.ok(!(await page.isVisible('#second')))
  await fill(page, 'ben', 'a wrong password')
  await says(page, 'The user name or the password is wrong.')
  await fill(page, 'ben')
  await says(page, 'And now the code.')
  assert.deepEqual(await members(closed, ana, room), ['ana'])
  await page.fill('#code', recovery_codes[0])
  await page.click('#go')
  await page.locator('#in-room').waitFor({ state: 'visible' })
  assert.equal(await page.textContent('#room'), 'Cuisine <b>', 'a name is no markup')
  await done(page, 'ben')
  assert.deepEqual(await members(closed, ana, room), ['ana', 'ben'])
  page = await visit(link(closed, into))
  await fill(page, 'ana')
  await page.locator('#in-room').waitFor({ state: 'visible' })
  await done(page, 'ana')
  page = await visit(`${closed}/invite/none`)
  await fill(page, 'ana')
  await says(page, 'This invite is not valid any more: ask for a new one.')
  await page.context().close()

  // --- Where everybody may make an account, the room's page leads there, and on into the room ---
  const eva = await enter(open, 'eva', '/api/auth/register')
  const salon = (await api(open, 'POST', '/api/rooms', eva, { name: 'Salon' })).id
  const there = await api(open, 'POST', `/api/rooms/${salon}/invites`, eva, {})
  page = await visit(link(open, there), { locale: 'fr-FR' })
  assert.equal(await page.title(), 'Vous êtes invité dans un salon')
  await page.click('#make')
  await page.waitForURL(/\/register\?room=/)
  assert.equal(await page.title(), 'Créer votre compte')
  await fill(page, 'finn')
  await page.locator('#in-room').waitFor({ state: 'visible' })
  assert.equal(await page.textContent('#room'), 'Salon')
  await done(page, 'finn')
  assert.deepEqual(await members(open, eva, salon), ['eva', 'finn'])

  // --- Without scripts it says so, and sends nothing anywhere ---
  page = await visit(link(open, there), { javaScriptEnabled: false })
  assert.match(await page.textContent('noscript'), /needs JavaScript/)
  await page.fill('#username', 'finn')
  await page.fill('#password', password)
  let sent = 0
  page.on('request', () => (sent += 1))
  const refused = page.waitForEvent('console', (message) => message.text().includes('form-action'))
  await page.click('#go', { noWaitAfter: true })
  await refused
  assert.equal(await page.inputValue('#username'), 'finn', 'the form is still there')
  assert.equal(sent, 0)
  console.log('invited')
} finally {
  await browser.close()
  rmSync(folder, { recursive: true, force: true })
}
