// A page of a real browser talks to servers that compress and to one that does not: what it says and hears is the same.
//
// Driven by crates/server/tests/it/third_party, or by hand, with two servers that have no account yet, the second of them
// with MESH_WS_COMPRESSION=on, and both with MESH_CORS_ORIGINS=*:
//
//     MESH_TEST_NODE_MODULES=…/node_modules MESH_TEST_CHROMIUM=/usr/bin/chromium node compression.mjs http://127.0.0.1:8000 http://127.0.0.1:8001
//
// It says "talked" at the end.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const { chromium } = require(`${process.env.MESH_TEST_NODE_MODULES}/playwright-core`)

const [plain, compressing] = process.argv.slice(2)
const contents = ['short', 'said again and again, '.repeat(100), 'é🦀'.repeat(500), 'the last']

async function api(base, path, token, body) {
  const headers = { 'content-type': 'application/json' }
  if (token) headers.authorization = `Bearer ${token}`
  const answer = await fetch(base + path, { method: 'POST', headers, body: JSON.stringify(body) })
  assert.ok(answer.ok, `POST ${path}: ${answer.status} ${await answer.clone().text()}`)
  return answer.json()
}

// Runs in the page: says everything at once, and gives what was agreed on and what came back.
function talk({ base, token, room, contents }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${base.replace('http', 'ws')}/ws?token=${token}`)
    const heard = []
    let next = 0
    const say = (type, payload) => socket.send(JSON.stringify({ type, id: `q${++next}`, payload }))
    socket.onopen = () => say('system.hello', { peer_type: 'client', version: 'test' })
    socket.onclose = ({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`))
    socket.onmessage = ({ data }) => {
      const { type, payload } = JSON.parse(data)
      if (type === 'system.welcome') say('room.join', { room_id: room })
      if (type === 'room.joined') for (const content of contents) say('chat.message.send', { room_id: room, content })
      if (type === 'system.error') reject(new Error(data))
      if (type === 'chat.message.created') heard.push(payload.message.content)
      if (heard.length === contents.length) resolve({ extensions: socket.extensions, heard })
    }
  })
}

const profile = mkdtempSync(join(tmpdir(), 'mesh-compression-'))
const browser = await chromium.launch({
  executablePath: process.env.MESH_TEST_CHROMIUM,
  env: { ...process.env, HOME: profile },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
})
try {
  const page = await browser.newPage()
  for (const [base, agreed] of [
    [plain, ''],
    [compressing, 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'],
  ]) {
    const who = { username: 'ana', password: 'correct horse battery' }
    const { access_token: token } = await api(base, '/api/auth/register', null, who)
    const { id: room } = await api(base, '/api/rooms', token, { name: 'Cuisine' })
    // Any page of the server will do.
    await page.goto(`${base}/health`)
    const { extensions, heard } = await page.evaluate(talk, { base, token, room, contents })
    assert.equal(extensions, agreed)
    assert.deepEqual(heard, contents)
  }
  console.log('talked')
} finally {
  await browser.close()
  rmSync(profile, { recursive: true, force: true })
}
