// The table of a directory; names come from the sandbox and are only ever set as text.
const body = element.querySelector('tbody')
const note = element.querySelector('.cs-files-note')
let chosen = -1

function cell(text, name) {
  const node = document.createElement('td')
  node.className = name
  node.textContent = text
  return node
}

function show() {
  const value = props.value || {}
  note.textContent = value.note || ''
  note.hidden = !value.note
  chosen = -1
  body.replaceChildren(...(value.rows || []).map((row, index) => {
    const line = document.createElement('tr')
    line.dataset.type = row.type
    const name = cell('', 'cs-name')
    const button = document.createElement('button')
    button.type = 'button'
    button.textContent = row.name
    name.append(button)
    line.append(name, cell(row.size, 'cs-size'), cell(row.when, 'cs-when'))
    line.addEventListener('click', () => {
      body.children[chosen]?.classList.remove('cs-chosen')
      chosen = index
      line.classList.add('cs-chosen')
      trigger('select', { serial: value.serial, index })
    })
    return line
  }))
}

watch('value', show)
show()
