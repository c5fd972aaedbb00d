//! What the report says in whole sentences.

use super::messages;

messages! {
    /// A sentence.
    pub(crate) Sentence {
        Period "Period: {0} to {1}, by days in UTC. Its first and its last month may be in it in part only."
            "Период: с {0} по {1}, дни по UTC. Первый и последний месяцы могут входить в него не полностью.";
        Deployment "Deployment: {0}." "Система: {0}.";
        NotAdvice "Facts for authorities, operators and auditors, not legal advice."
            "Сведения для надзорных органов, операторов и аудиторов; юридической консультацией не являются.";
        WhatItIs "This report is read from placement logs. For every write that it acknowledges, a shard puts one entry into its log, in the same atomic step as the record. The log only grows, and checkpoints of it are signed by a key that is kept in the region."
            "Отчёт составлен по журналам размещения. Для каждой подтверждённой операции записи сегмент хранилища вносит в журнал одну строку в том же неделимом шаге, что и саму запись. Журнал только пополняется, а его контрольные точки подписываются ключом, который хранится в регионе.";
        NoPeople "Entries hold no content and no direct identifier; they are pseudonymous, and so stay in their region. This report holds counts of them."
            "Строки журнала не содержат ни содержания записей, ни прямых идентификаторов; они псевдонимны и поэтому хранятся в своём регионе. Отчёт содержит их количества.";
        WhoseWords "Addresses, contracts, grounds and legal bases are the operators' words, as they stand in the region maps. They are repeated here and were not checked."
            "Адреса, договоры, правовые основания и условия передачи приведены со слов операторов, как они указаны в картах регионов. Здесь они повторены и не проверялись.";
        HowToVerify "Whoever has a copy of a log can check it without trusting the author of this report: its entries hash to the tree whose root the checkpoint signs, and the figures follow from the entries. DIR is the folder of the copy."
            "Любой, у кого есть копия журнала, может проверить её, не полагаясь на составителя отчёта: хеши строк образуют дерево, корень которого подписан контрольной точкой, а показатели следуют из строк. DIR — каталог с копией.";
        ForeignTools "The formats are public (C2SP tlog-tiles, tlog-checkpoint, signed-note), so programs of others read them too: aics-tlog, tlog-scales, and Go's golang.org/x/mod/sumdb/tlog. KEYS is a file with the key of the log as given below."
            "Форматы открыты (C2SP tlog-tiles, tlog-checkpoint, signed-note), поэтому их читают и сторонние программы: aics-tlog, tlog-scales и пакет golang.org/x/mod/sumdb/tlog языка Go. KEYS — файл с ключом проверки журнала, указанным ниже.";
        KeysElsewhere "Take the keys of the logs from the region's operators or from an earlier report, and compare: a key that comes with what it verifies shows little."
            "Ключи проверки журналов следует получить от операторов региона или из прежнего отчёта и сравнить: ключ, полученный вместе с тем, что он подтверждает, мало что доказывает.";
        NoLogs "No log was given." "Журналы не представлены.";
        NoMaps "No map was given that can be used." "Карты регионов, пригодные для отчёта, не представлены.";
        SitesSay "Where the machines stand, by the maps. An attestation is somebody's statement; this system cannot prove a location."
            "Место нахождения оборудования по данным карт. Подтверждение — это чьё-либо заявление; доказать местонахождение система не может.";
        StatutesSay "Each law is a pack of data with a digest, which the map names. Its reading and its settings are the operator's choice where the law can be read in more than one way. The marks say how well the facts of the pack were verified by its authors."
            "Каждая норма — это пакет данных с хешем, который указан в карте. Если норму можно толковать по-разному, толкование и настройки выбирает оператор. Отметки показывают, насколько хорошо сведения пакета проверены его составителями.";
        CollectionsSay "What kinds of records there are, by the maps." "Виды записей по данным карт.";
        RecordsSay "A record is counted once, under the set of jurisdictions that its last write names. A change is counted under the set that it names, and a deletion under that of the record."
            "Каждая запись учтена один раз — по тому набору юрисдикций, который назван в строке о её последнем сохранении. Изменение учтено по набору, названному в его строке, удаление — по набору записи.";
        NoSubjectCount "The log names no person, so it does not show how many there are: only creations without a record, and erasures."
            "Журнал не называет субъектов, поэтому их число по нему не определяется: видны только создание субъекта без записей и уничтожение его данных.";
        SmallRule "Counts from 1 to {0} in this section, and of transfers in the next, are shown as <{1}. So that no sum gives one away, others in the same sum are not shown either: these are marked *. Zero is shown. Sums over months are not given."
            "Значения от 1 до {0} в этом разделе, а также в таблицах передачи следующего раздела показаны как <{1}. Чтобы такое значение нельзя было вычислить по сумме, вместе с ним скрыты и другие слагаемые; они отмечены знаком *. Ноль показывается. Суммы по месяцам не приводятся.";
        WholeCounts "Other sections count what operators and callers did, not people by the law that claims them; their counts are shown whole."
            "В остальных разделах учтены действия операторов и обращающихся систем, а не субъекты по применимому праву; их значения приведены полностью.";
        NoRecords "No entry of the period speaks of records." "За период строк о записях нет.";
        OrderSay "A record is written in its home region first; copies and moves to others come after, each with an entry on both sides."
            "Запись сначала вносится в регион первичного размещения; копирование и перенос в другие регионы происходят после этого, со строкой в журнале каждой стороны.";
        NoTransfers "The logs given show no copy to another region, no move, and no placement that rests on a transfer clause in the period."
            "В представленных журналах за период нет ни копирования в другой регион, ни переноса, ни размещения на основании условия передачи.";
        HomeFirstSay "For each copy the first write was looked for: of a sent copy in the same log, of a received one in the log that it names. Times are whole minutes, each by its own shard's clock."
            "Для каждой копии выполнен поиск первичной записи: для отправленной — в том же журнале, для принятой — в журнале, на который она ссылается. Время указано с точностью до минуты по часам соответствующего сегмента.";
        NoClauses "The maps have no transfer clause." "Условий передачи в картах нет.";
        ClausesSay "The transfer clauses of the maps. That one stands here does not mean that its ground holds."
            "Условия передачи по данным карт. Наличие условия не означает, что его основание действительно.";
        NoRefusals "The logs given show no refusal in the period. A refusal that a gateway answers by itself is in no log."
            "В представленных журналах за период отказов нет. Отказ, который шлюз даёт самостоятельно, в журнал не попадает.";
        RefusalsSay "Writes that the rules did not allow, as shards logged them: nothing was stored. A refusal that a gateway answers by itself is in no log."
            "Операции записи, не допущенные правилами, по строкам сегментов: данные не сохранены. Отказ, который шлюз даёт самостоятельно, в журнал не попадает.";
        NoErasures "The logs given show no erasure in the period." "В представленных журналах за период уничтожений нет.";
        ErasuresSay "Erasures of whole subjects. An entry gives the reason and the deadline as the caller stated them; it does not give the time of the request."
            "Уничтожение всех данных субъекта. Причина и срок указаны в строке со слов обратившейся системы; время поступления требования в строке не указано.";
        LateSay "Erasures that were logged after their deadline:" "Уничтожения, внесённые в журнал после истечения срока:";
        NoLate "No erasure was logged after a deadline that its entry gives."
            "Уничтожений, внесённых в журнал после указанного в строке срока, нет.";
        NoAccesses "The logs given show no read in the period." "В представленных журналах за период чтений нет.";
        AccessesSay "Reads through Bailiwick. Of some collections each read has an entry, with the purpose that the caller stated; of others, reads are counted by caller and minute. Purposes are the callers' words."
            "Чтения через Bailiwick. Для одних категорий записей каждое чтение отражено отдельной строкой с заявленной целью, для других чтения учтены суммарно по обратившейся системе и минуте. Цели приведены со слов обратившихся систем.";
        Abroad "Reads by callers outside the region's territory, or from an unknown place: {0} of {1}."
            "Чтений из-за пределов территории региона или из неустановленного места: {0} из {1}.";
        MapsSay "Which maps were given, and when each log took one. What entries name and is missing here stands among the gaps."
            "Представленные карты и время их принятия каждым журналом. Карты, на которые ссылаются строки и которые не представлены, указаны среди пробелов.";
        NoTaken "No log shows that a map was taken." "Сведений о принятии карт в журналах нет.";
        NoEvents "Nothing of this kind stands in the logs given." "В представленных журналах таких строк нет.";
        ExportsSay "Exports to a person of what is held about them, by month." "Выгрузки субъекту его данных по месяцам.";
        OldHeadSay "follows {0}, {1} entries, root {2}" "продолжает {0}, строк: {1}, корневой хеш {2}";
        LogKeySay "log key {0}" "ключ проверки {0}";
        CountSay "count {0}" "количество: {0}";
        GapsSay "What was found missing or weak while this report was made:"
            "При составлении отчёта выявлено отсутствие или недостаточность следующих сведений:";
        NoGaps "Nothing was found missing among what was given." "Среди представленного пробелов не выявлено.";
        CannotShow "What no placement log can show:" "Чего журнал размещения показать не может:";
        LimitEvidence "whether evidence is true: it is as true as the caller;"
            "достоверность сведений о субъекте: они верны настолько, насколько верно сообщил обратившийся;";
        LimitSite "where a machine stands: a location is attested, not proven;"
            "местонахождение оборудования: оно подтверждается заявлением, но не доказывается;";
        LimitDisk "reads by whoever holds both the disk and the key;"
            "чтение теми, у кого есть и носитель, и ключ;";
        LimitCopies "copies that were made elsewhere, outside of Bailiwick;"
            "копии, сделанные в других местах, помимо Bailiwick;";
        LimitGiven "what became of receipts, exports and answers that were given out;"
            "судьбу выданных квитанций, выгрузок и ответов;";
        LimitCrypto "that encryption would replace localisation: it is no exemption from it;"
            "что шифрование заменяет локализацию: исключением из этой обязанности оно не является;";
        LimitTime "times finer than a minute, or better than the shard's clock;"
            "время точнее минуты или точнее часов сегмента;";
        LimitCounts "up to a minute of counted reads before a crash."
            "учтённые суммарно чтения за последнюю минуту перед сбоем.";
        SourcesSay "Each figure names the logs it comes from by these keys; the checkpoint of each stands in section {0}."
            "У каждого показателя указаны журналы, из которых он получен, под этими номерами; контрольные точки приведены в разделе {0}.";
        ChartGap "A gap in a line stands for a count that is not shown." "Разрыв линии означает скрытое значение.";
    }
}
