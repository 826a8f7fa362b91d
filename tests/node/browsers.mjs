// Two pages of a real browser call each other: fake camera and microphone, a data channel, and nothing between them but a
// server that tells what one says to the other. Once directly, once with every packet through coturn.
//
// Driven by crates/server/tests/it/third_party, or by hand:
//
//     MESH_TEST_NODE_MODULES=…/node_modules MESH_TEST_CHROMIUM=/usr/bin/chromium node browsers.mjs http://127.0.0.1:8000
//
// The server's TURN credentials are what the pages get from `system.welcome`. It says "called" at the end.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const { chromium } = require(`${process.env.MESH_TEST_NODE_MODULES}/playwright-core`)

const [base] = process.argv.slice(2)
const password = 'correct horse battery'

async function api(method, path, token, body) {
  const headers = { 'content-type': 'application/json' }
  if (token) headers.authorization = `Bearer ${token}`
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) })
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`)
  return answer.status === 204 ? null : answer.json()
}

// Runs in the page: a client of the server, and one end of a call. It is polite throughout, since the server lets one
// offer stand at a time: whoever gets one takes the own one back.
function endpoint({ base, token, room, call, policy }) {
  const state = { failures: [], glares: 0, said: [], trackKinds: [], ended: null }
  const waiting = new Map()
  let next = 0
  let welcome
  let socket
  let pc
  let media
  let channel
  let ready = false
  let other
  const queue = []

  const ask = (type, payload, to) =>
    new Promise((resolve) => {
      const id = `q${++next}`
      waiting.set(id, resolve)
      socket.send(JSON.stringify({ type, id, to, payload }))
    })
  const about = (more) => ({ room_id: room, call_id: call, ...more })

  async function capability() {
    const answer = await fetch(`${base}/api/auth/capability`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ room_id: room, capabilities: ['call'], target_peer_id: other }),
    })
    return (await answer.json()).capability_token
  }

  async function offer() {
    const capability_token = await capability()
    // The other's offer may not be answered yet; once it is, the browser asks again for what is still wanted.
    if (pc.signalingState !== 'stable') return
    await pc.setLocalDescription()
    const answer = await ask('rtc.offer', about({ capability_token, sdp: pc.localDescription.sdp }), other)
    if (answer.type === 'system.error') {
      if (answer.payload.details?.reason !== 'glare') throw new Error(JSON.stringify(answer))
      state.glares += 1
    } else if (answer.payload.polite !== false) {
      throw new Error(JSON.stringify(answer))
    }
  }

  async function heard({ type, payload }) {
    if (type === 'rtc.offer') {
      // The very first offer is not rolled back but thrown away with all that it has begun: Chromium now and then cannot
      // start its data channels after that ("Failed to start SCTP transport").
      if (pc.signalingState === 'have-local-offer' && !pc.currentRemoteDescription) {
        pc.close()
        build(false)
      }
      await pc.setRemoteDescription({ type: 'offer', sdp: payload.sdp })
      await pc.setLocalDescription()
      await ask('rtc.answer', about({ sdp: pc.localDescription.sdp }), other)
      pc.onnegotiationneeded ??= wanted
    } else if (type === 'rtc.answer') {
      await pc.setRemoteDescription({ type: 'answer', sdp: payload.sdp })
    } else if (type === 'rtc.ice') {
      // Those of an offer that was taken back fit nothing.
      await pc.addIceCandidate(payload.candidate).catch(() => {})
    } else if (type === 'rtc.bye') {
      state.ended = payload
      pc.close()
    }
  }

  // One after the other: what is offered is not mixed with what is answered.
  let chain = Promise.resolve()
  const then = (act) => (chain = chain.then(act).catch((e) => state.failures.push(`${e.stack ?? e}`)))
  const wanted = () => then(offer)

  async function connect() {
    socket = new WebSocket(`${base.replace('http', 'ws')}/ws?token=${token}`)
    await new Promise((resolve, reject) => {
      socket.onopen = resolve
      socket.onerror = reject
    })
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data)
      if (event.reply_to && waiting.has(event.reply_to)) {
        waiting.get(event.reply_to)(event)
        waiting.delete(event.reply_to)
      } else if (event.type.startsWith('rtc.')) {
        if (ready) then(() => heard(event))
        else queue.push(event)
      }
    }
    welcome = (await ask('system.hello', { peer_type: 'client', version: 'test' })).payload
    return welcome.peer_id
  }

  function build(opens) {
    pc = new RTCPeerConnection({ iceServers: welcome.ice_servers, iceTransportPolicy: policy })
    pc.ontrack = ({ track }) => state.trackKinds.push(track.kind)
    pc.onicecandidate = ({ candidate }) => {
      // Before there is a call, nothing of it passes: what an offer that has lost has gathered is of no use.
      ask('rtc.ice', about({ candidate: candidate?.toJSON() ?? null }), other)
    }
    // Both know the channel's number, so that neither must open it.
    channel = pc.createDataChannel('chat', { negotiated: true, id: 1 })
    channel.onmessage = ({ data }) => state.said.push(data)
    // Who is called waits for the offer, which has room for what it sends as well.
    pc.onnegotiationneeded = opens ? wanted : null
    for (const track of media.getTracks()) pc.addTrack(track, media)
  }

  async function prepare(peer, opens) {
    other = peer
    media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true })
    build(opens)
    ready = true
    for (const event of queue.splice(0)) then(() => heard(event))
  }

  async function report() {
    const stats = [...(await pc.getStats()).values()]
    const transport = stats.find((s) => s.type === 'transport' && s.selectedCandidatePairId)
    const pair = transport && stats.find((s) => s.id === transport.selectedCandidatePairId)
    const type = (id) => stats.find((s) => s.id === id)?.candidateType
    return {
      ...state,
      connection: pc.connectionState,
      signaling: pc.signalingState,
      channel: channel.readyState,
      frames: Math.max(0, ...stats.filter((s) => s.type === 'inbound-rtp').map((s) => s.framesDecoded ?? 0)),
      audio: stats.some((s) => s.type === 'inbound-rtp' && s.kind === 'audio' && s.packetsReceived > 0),
      pair: pair && [type(pair.localCandidateId), type(pair.remoteCandidateId)],
      transceivers: pc.getTransceivers().filter((t) => t.mid !== null).length,
    }
  }

  window.mesh = {
    connect,
    prepare,
    report,
    say: (text) => channel.send(text),
    // A further picture, as for a shared screen: both ends must talk again about what there is.
    more: () => pc.addTransceiver('video', { direction: 'sendrecv' }),
    bye: () => ask('rtc.bye', about({}), other),
  }
}

// Asks both until it is so.
async function until(pages, what, holds) {
  const deadline = Date.now() + 60_000
  for (;;) {
    const seen = await Promise.all(pages.map((page) => page.evaluate(() => window.mesh.report())))
    const failed = seen.flatMap((s) => s.failures)
    assert.deepEqual(failed, [])
    if (seen.every(holds)) return seen
    assert.ok(Date.now() < deadline, `${what}: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function callOnce(browser, people, room, policy, { glare }) {
  const call = `call-${policy}-${glare}`
  const pages = []
  const peers = []
  for (const { token } of people) {
    const context = await browser.newContext({ permissions: ['camera', 'microphone'] })
    const page = await context.newPage()
    // Any page of the server will do.
    await page.goto(`${base}/health`)
    await page.evaluate(endpoint, { base, token, room, call, policy })
    peers.push(await page.evaluate(() => window.mesh.connect()))
    pages.push(page)
  }
  await Promise.all(
    pages.map((page, n) => page.evaluate(([peer, opens]) => window.mesh.prepare(peer, opens), [peers[1 - n], glare || n === 0]))
  )
  const connected = (s) => s.connection === 'connected' && s.channel === 'open' && s.frames > 3 && s.audio
  const seen = await until(pages, `a call, ${policy}`, connected)
  for (const { pair } of seen) {
    if (policy === 'relay') assert.equal(pair[0], 'relay', JSON.stringify(seen))
    else assert.ok(!pair.includes('relay'), JSON.stringify(seen))
  }
  await Promise.all(pages.map((page, n) => page.evaluate((text) => window.mesh.say(text), `from ${n}`)))
  await until(pages, 'words', (s) => s.said.length === 1)
  // Both want more at once: one offer stands, and the other one's wish is asked for again, until both have it.
  const before = seen[0].transceivers
  await Promise.all(pages.map((page) => page.evaluate(() => void window.mesh.more())))
  const after = await until(pages, 'more', (s) => s.signaling === 'stable' && s.transceivers >= before + 2)
  await pages[0].evaluate(() => window.mesh.bye())
  await until([pages[1]], 'the end', (s) => s.ended !== null)
  await Promise.all(pages.map((page) => page.context().close()))
  return after.reduce((sum, s) => sum + s.glares, 0)
}

const people = []
for (const username of ['ana', 'ben']) {
  const { access_token: token } = await api('POST', '/api/auth/register', null, { username, password })
  people.push({ username, token })
}
const { id: room } = await api('POST', '/api/rooms', people[0].token, { name: 'Cuisine' })
await api('POST', `/api/rooms/${room}/members`, people[0].token, { username: 'ben' })

const profile = mkdtempSync(join(tmpdir(), 'mesh-browser-'))
const browser = await chromium.launch({
  executablePath: process.env.MESH_TEST_CHROMIUM,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-dev-shm-usage',
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    '--allow-loopback-in-peer-connection',
  ],
  env: { ...process.env, HOME: profile },
})
try {
  let glares = 0
  glares += await callOnce(browser, people, room, 'all', { glare: false })
  glares += await callOnce(browser, people, room, 'all', { glare: true })
  glares += await callOnce(browser, people, room, 'relay', { glare: false })
  console.log(`called ${glares}`)
} finally {
  await browser.close()
  rmSync(profile, { recursive: true, force: true })
}
