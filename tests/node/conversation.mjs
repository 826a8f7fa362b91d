// Two people talk through a server that is killed in the middle, by a client that was not written here.
//
// Driven by crates/server/tests/it/third_party, and by hand against a server of your own:
//
//     MESH_TEST_NODE_MODULES=…/node_modules node conversation.mjs http://127.0.0.1:8000
//
// With MESH_TEST_COMPRESSION=on it expects the server to agree to compression (MESH_WS_COMPRESSION=on), which it always offers.
//
// It says "talking" once there is something to lose. When the server is gone it reads from standard input where it is
// back, goes on from there, and says "done" with the number of messages when nothing acknowledged is lost.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)
const { WebSocket } = require(`${process.env.MESH_TEST_NODE_MODULES}/ws`)

const PASSWORD = 'correct horse battery'
const WINDOW = 16
const extensions = process.env.MESH_TEST_COMPRESSION === 'on' ? 'permessage-deflate' : ''
const ENOUGH = 100 // acknowledgements each, before the kill and after it
const names = process.argv.length > 4 ? process.argv.slice(3, 5) : ['ana', 'Ben']

async function call(base, method, path, token, body) {
  const headers = { 'content-type': 'application/json' }
  if (token) headers.authorization = `Bearer ${token}`
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) })
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`)
  return answer.json()
}

// Short messages are compressed as well, where that was agreed on.
const perMessageDeflate = { threshold: 0 }
const open = (base, token) => new WebSocket(`${base.replace('http', 'ws')}/ws?token=${token}`, { perMessageDeflate })

// A bad token is told by a close code, which a browser can read as well.
function refusal(base) {
  return new Promise((resolve, reject) => {
    const socket = open(base, 'garbage')
    socket.on('error', reject)
    socket.on('close', (code, reason) => resolve([code, reason.toString()]))
  })
}

class Talker {
  constructor(answer, room) {
    this.name = answer.user.username
    this.token = answer.access_token
    this.room = room
    this.sent = 0
    this.acknowledged = 0
    this.seen = undefined // the newest sequence number
    this.open = new Set() // client ids that were sent and not acknowledged; the content is the same
    this.told = new Map() // sequence number: content
  }

  // Until enough is acknowledged; with `tell`, which hears of each acknowledgement, until the server dies.
  talk(base, tell) {
    return new Promise((resolve, reject) => {
      const socket = open(base, this.token)
      let known
      let resent
      let goal
      const send = (type, id, payload) => socket.send(JSON.stringify({ type, id, payload }))
      const say = (id) => send('chat.message.send', id, { room_id: this.room, content: id, client_id: id })
      const hear = {
        'system.welcome': ({ payload }) => {
          assert.equal(payload.user.username, this.name)
          send('room.join', 'join', { room_id: this.room, since_seq: this.seen })
        },
        'room.joined': ({ payload, reply_to }) => {
          assert.deepEqual([reply_to, payload.gap], ['join', false])
          known = payload.last_seq
          this.seen ??= known
          resent = new Set(this.open)
          resent.forEach(say)
          goal = this.acknowledged + resent.size + ENOUGH
        },
        'chat.message.created': ({ payload: { seq, message }, reply_to }) => {
          if (reply_to) {
            assert.deepEqual([message.content, message.client_id], [reply_to, reply_to])
            assert.ok(this.open.delete(reply_to), 'one answer to one event')
            this.acknowledged += 1
            tell?.()
          }
          // What was committed before the server died is acknowledged again, out of the room's order.
          if (!(resent.has(reply_to) && seq <= known)) {
            assert.equal(seq, this.seen + 1, `${this.name} heard ${seq} after ${this.seen}`)
            this.seen = seq
          }
          assert.equal(this.told.get(seq) ?? message.content, message.content)
          this.told.set(seq, message.content)
        },
        'presence.update': () => {},
      }
      socket.on('open', () => {
        if (socket.extensions !== extensions) reject(new Error(`agreed on "${socket.extensions}"`))
        send('system.hello', 'hello', { peer_type: 'client', version: 'ws' })
      })
      socket.on('message', (data, binary) => {
        try {
          assert.equal(binary, false)
          const event = JSON.parse(data)
          assert.ok(hear[event.type], data)
          hear[event.type](event)
          if (goal === undefined) return
          while (this.open.size < WINDOW && (tell || this.acknowledged + this.open.size < goal)) {
            this.sent += 1
            this.open.add(`${this.name}-${this.sent}`)
            say(`${this.name}-${this.sent}`)
          }
          if (!tell && this.acknowledged === goal && this.seen >= known) socket.close(1000)
        } catch (error) {
          reject(error)
        }
      })
      socket.on('error', (error) => tell || reject(error))
      socket.on('close', (code) => {
        // 1006: the connection was cut, without a word.
        const expected = tell ? 1006 : 1000
        code === expected ? resolve() : reject(new Error(`closed with ${code}`))
      })
    })
  }
}

async function history(base, token, room) {
  const log = []
  for (;;) {
    const page = await call(base, 'GET', `/api/rooms/${room}/messages?limit=200&after_seq=${log.length}`, token)
    if (page.length === 0) return log
    log.push(...page)
  }
}

let base = process.argv[2]
const answers = []
for (const username of names) {
  answers.push(await call(base, 'POST', '/api/auth/register', undefined, { username, password: PASSWORD }))
}
assert.deepEqual(await refusal(base), [4401, 'token_invalid'])
const owner = answers[0].access_token
const { id: room } = await call(base, 'POST', '/api/rooms', owner, { name: 'Cuisine' })
await call(base, 'POST', `/api/rooms/${room}/members`, owner, { username: names[1] })

const talkers = answers.map((answer) => new Talker(answer, room))
let count = 0
const tell = () => {
  count += 1
  if (count === 2 * ENOUGH) console.log('talking')
}
await Promise.all(talkers.map((talker) => talker.talk(base, tell)))
const input = createInterface({ input: process.stdin })
base = (await input[Symbol.asyncIterator]().next()).value.trim()
input.close()
await Promise.all(talkers.map((talker) => talker.talk(base)))

const log = await history(base, owner, room)
log.forEach((message, index) => assert.equal(message.seq, index + 1))
assert.equal(new Set(log.map((message) => message.client_id)).size, log.length, 'something is there twice')
for (const talker of talkers) {
  for (const [seq, content] of talker.told) {
    assert.equal(log[seq - 1]?.content, content, `${seq} was acknowledged`)
  }
  const own = log.filter((message) => message.username === talker.name).map((message) => message.content)
  const all = Array.from({ length: talker.sent }, (_, n) => `${talker.name}-${n + 1}`)
  assert.deepEqual(own.sort(), all.sort())
}
console.log(`done ${log.length}`)
