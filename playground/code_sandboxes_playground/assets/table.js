// A table to choose a row of; names come from a sandbox and are only ever set as text.
const body = element.querySelector('tbody')
const note = element.querySelector('.cs-files-note')
let chosen = -1

function cell(text, name) {
  const node = document.createElement('td')
  node.className = name
  node.textContent = text
  return node
}

function mark(index) {
  body.children[chosen]?.classList.remove('cs-chosen')
  chosen = index
  body.children[chosen]?.classList.add('cs-chosen')
}

function show() {
  const value = props.value || {}
  note.textContent = value.note || ''
  note.hidden = !value.note
  body.replaceChildren(...(value.rows || []).map((row, index) => {
    const line = document.createElement('tr')
    line.dataset.type = row.type
    const name = cell('', 'cs-name')
    const button = document.createElement('button')
    button.type = 'button'
    button.textContent = row.name
    name.append(button)
    line.append(name, ...props.columns.map(column => cell(row[column], 'cs-' + column)))
    line.addEventListener('click', () => {
      mark(index)
      trigger('select', { serial: value.serial, index })
    })
    return line
  }))
  mark(value.chosen ?? -1)
}

watch('value', show)
show()
