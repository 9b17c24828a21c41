// A console: asks the server for what it does not show yet, and only ever appends.
// Everything that arrives is hostile: text is set as text, nothing is ever parsed as markup.
const kind = props.kind
const out = element.querySelector('.cs-out')
const status = element.querySelector('.cs-status')
const where = element.querySelector('.cs-where')
const ask = element.querySelector('.cs-ask')
const reply = ask.querySelector('input')
const consoleBox = element.querySelector('.cs-console')
let epoch = 0, seen = 0, polling = false, again = false, asked = false
let unfinished = []  // nodes of the line that has no end yet
const keyed = new Map()

function span(text, style) {
  const node = document.createElement('span')
  node.textContent = text
  if (/^#[0-9a-f]{6}$/.test(style.c || '')) node.style.color = style.c
  if (style.b) node.style.fontWeight = '600'
  if (style.d) node.style.opacity = '0.7'
  if (style.i) node.style.fontStyle = 'italic'
  if (style.u) node.style.textDecoration = 'underline'
  return node
}

function appendText(item) {
  if (item.over) unfinished.forEach(node => node.remove())
  if (item.over) unfinished = []
  const block = document.createElement('span')
  block.className = 'cs-' + item.kind
  for (const [text, style] of item.parts) {
    const cut = text.lastIndexOf('\n') + 1
    if (cut) { block.append(span(text.slice(0, cut), style)); unfinished = [] }
    if (cut < text.length) {
      const tail = span(text.slice(cut), style)
      block.append(tail)
      unfinished.push(tail)
    }
  }
  out.append(block)
}

function element_of(item) {
  const box = document.createElement('div')
  box.className = 'cs-item cs-' + item.kind
  if (item.kind === 'image') {
    const image = document.createElement('img')
    image.alt = item.alt
    image.src = item.src
    box.append(image)
  } else if (item.kind === 'frame') {
    const frame = document.createElement('iframe')
    frame.setAttribute('sandbox', '')
    frame.setAttribute('referrerpolicy', 'no-referrer')
    frame.title = 'HTML result'
    box.style.height = item.height + 'px'
    frame.srcdoc = item.srcdoc
    box.append(frame)
  } else if (item.kind === 'error') {
    for (const [text, style] of item.parts) box.append(span(text, style))
  } else {
    box.textContent = item.text
  }
  if (!item.note) return box
  const both = document.createElement('div')
  const note = document.createElement('div')
  note.className = 'cs-item cs-note'
  note.textContent = item.note
  both.append(box, note)
  return both
}

function append(item) {
  if (item.kind === 'gone') return
  if (item.kind === 'stdout' || item.kind === 'stderr') return appendText(item)
  unfinished = []
  const node = element_of(item)
  const before = item.key && keyed.get(item.key)
  if (before) before.replaceWith(node)
  else out.append(node)
  if (item.key) keyed.set(item.key, node)
}

function question(open) {
  ask.hidden = !open
  if (open && !asked) {
    ask.querySelector('label').textContent = open.prompt || 'The code asks for input:'
    reply.type = open.password ? 'password' : 'text'
    reply.value = ''
    reply.focus()
  }
  asked = Boolean(open)
}

function show(state) {
  if (state.epoch !== epoch) {
    out.replaceChildren()
    epoch = state.epoch; seen = 0; unfinished = []; keyed.clear()
  }
  const atEnd = out.scrollHeight - out.scrollTop - out.clientHeight < 40
  state.items.forEach(append)
  seen = state.next
  if (atEnd) out.scrollTop = out.scrollHeight
  const hidden = state.hidden ? ` · ${state.hidden.toLocaleString('en')} characters not shown` : ''
  const told = state.question ? 'waits for input' : state.running
    ? `running · ${state.seconds.toFixed(1)} s` : state.status || 'ready'
  status.textContent = told + hidden
  where.textContent = state.where
  consoleBox.dataset.state = state.running ? 'running' : state.outcome
  consoleBox.dataset.run = state.run
  consoleBox.classList.toggle('cs-empty', !out.childNodes.length)
  document.body.classList.toggle('cs-running-' + kind, state.running)
  question(state.question)
}

const pause = time => new Promise(done => setTimeout(done, time))

async function poll() {
  again = true
  if (polling) return
  polling = true
  let failures = 0, rest = 80
  try {
    while (again || consoleBox.dataset.state === 'running') {
      again = false
      const ticket = props.value && props.value.ticket
      if (!ticket) return
      const state = await server.poll([ticket, kind, epoch, seen])
      if (state) { failures = 0; show(state) }
      else if (++failures > 5) { status.textContent = 'connection lost; reload the page'; return }
      else again = true
      rest = !state ? 1000 : state.items.length ? 80 : Math.min(rest * 1.25, 400)
      await pause(rest)
    }
  } finally { polling = false }
}

ask.addEventListener('submit', async event => {
  event.preventDefault()
  await server.answer([props.value.ticket, kind, reply.value])
})

if (kind === 'code') document.addEventListener('keydown', event => {
  const typed = (event.ctrlKey || event.metaKey) && event.key === 'Enter'
  if (!typed || !event.target.closest('#cs-editor')) return
  event.preventDefault()
  event.stopImmediatePropagation()
  document.querySelector('#cs-run').click()
}, true)

watch('value', poll)
poll()
